"""Makes pages of the site for source files and folders outside docs/ that the documents link to.

In the documents, these links are paths in the checkout, so that they also work on code hosts. On the site, such a link
leads to a page with the text of the file, or with the list of the folder.
"""

import os
import re
from pathlib import Path, PurePosixPath

LINK = re.compile(r"\]\(((?!https?:|mailto:|#)[^)#\s]+)")
FOLDER = "source"
"""Folder of these pages on the site."""
LANGUAGES = {".py": "python", ".json": "json", ".sh": "bash", ".cfg": "ini", ".cff": "yaml"}


def outside(page: PurePosixPath, link: str) -> PurePosixPath | None:
    """Where a link leads: a path relative to the checkout. None if it leads into docs/ or out of the checkout.

    Args:
      page: path of the page inside docs/.
      link: the link in the page, without an anchor.
    """
    target = PurePosixPath(os.path.normpath(PurePosixPath("docs") / page.parent / link))
    return None if target.parts[:1] in ((), ("docs",), ("..",)) else target


def page_of(target: PurePosixPath) -> PurePosixPath:
    """The path, relative to docs/, of the page that the site makes for a file or folder outside docs/."""
    return PurePosixPath(FOLDER, f"{target}.md")


def redirected(page: PurePosixPath, text: str) -> tuple[str, set[PurePosixPath]]:
    """Replaces a page's links that lead outside docs/. Returns the new text, and the targets of these links."""
    targets: set[PurePosixPath] = set()

    def lead(match: re.Match[str]) -> str:
        target = outside(page, match[1])
        if target is None:
            return match[0]
        targets.add(target)
        return f"]({os.path.relpath(page_of(target), page.parent)}"

    return LINK.sub(lead, text), targets


def content(target: PurePosixPath, root: Path) -> str:
    """The Markdown of the page for a file or folder in the checkout.

    Raises:
      FileNotFoundError: the checkout has no such file or folder.
    """
    path = root / target
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {target}\n\n"
    if path.is_dir():
        names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
        return head + "\n".join(f"- `{name}`" for name in names if not name.startswith(("__pycache__", ".")))
    text = path.read_text(encoding="utf-8")
    return f"{head}``````{LANGUAGES.get(path.suffix, 'text')}\n{text}\n``````\n"
