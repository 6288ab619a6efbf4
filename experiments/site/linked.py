"""Pages for link targets outside docs/: the project's source files, and lists of its folders.

The documents are read on code hosts too, so their links are paths of the checkout. On the site each such link leads to
a page with the file's text, and not to a code host, which may lack the file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

LINK = re.compile(r"\]\(((?!https?:|mailto:|#)[^)#\s]+)")
FOLDER = "source"
"""The site's folder for these pages."""
LANGUAGES = {".py": "python", ".json": "json", ".sh": "bash", ".cfg": "ini", ".cff": "yaml"}


def outside(page: PurePosixPath, link: str) -> PurePosixPath | None:
    """The target of a page's link, from the root of the checkout; None if it lies inside docs/.

    Args:
      page: the page's path inside docs/.
      link: as the page writes it, without an anchor.
    """
    target = PurePosixPath(os.path.normpath(PurePosixPath("docs") / page.parent / link))
    return None if target.parts[:1] in ((), ("docs",), ("..",)) else target


def page_of(target: PurePosixPath) -> PurePosixPath:
    """The page of a file or folder outside docs/, as a path inside docs/."""
    return PurePosixPath(FOLDER, f"{target}.md")


def redirected(page: PurePosixPath, text: str) -> tuple[str, set[PurePosixPath]]:
    """A page's text with links outside docs/ replaced by links to pages, and the set of their targets."""
    targets: set[PurePosixPath] = set()

    def lead(match: re.Match[str]) -> str:
        target = outside(page, match[1])
        if target is None:
            return match[0]
        targets.add(target)
        return f"]({os.path.relpath(page_of(target), page.parent)}"

    return LINK.sub(lead, text), targets


def content(target: PurePosixPath, root: Path) -> str:
    """The Markdown of the page of a file or folder.

    Raises:
      FileNotFoundError: there is no such file or folder in the checkout.
    """
    path = root / target
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {target}\n\n"
    if path.is_dir():
        names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
        return head + "\n".join(f"- `{name}`" for name in names if not name.startswith(("__pycache__", ".")))
    text = path.read_text(encoding="utf-8")
    return f"{head}``````{LANGUAGES.get(path.suffix, 'text')}\n{text}\n``````\n"
