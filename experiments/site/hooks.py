"""The functions that MkDocs calls while it builds the site (`hooks` in mkdocs.yml)."""

import sys
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[2]
# MkDocs runs this file by its path.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from experiments.site import formulas, linked, reference  # noqa: E402


def on_config(config: Any) -> Any:
    """Adds two Markdown extensions: one renders formulas inside a line, the other renders separate formulas."""
    config.markdown_extensions.append(formulas.Formulas())
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "formula", "format": formulas.display})
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the reference pages, and a page for each file outside docs/ that a document links to."""
    targets: set[PurePosixPath] = set()
    for page in files.documentation_pages():
        targets |= linked.redirected(PurePosixPath(page.src_uri), page.content_string)[1]
    for target in sorted(targets):
        text, uri = linked.content(target, ROOT), str(linked.page_of(target))
        files.append(File.generated(config, uri, content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    for uri, make in reference.PAGES.items():
        files.append(File.generated(config, uri, content=make()))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Replaces links to files outside docs/ by links to the pages of these files."""
    del config, files
    if page.file.src_uri.startswith(f"{linked.FOLDER}/"):
        return markdown
    return linked.redirected(PurePosixPath(page.file.src_uri), markdown)[0]


def on_post_build(*, config: Any) -> None:
    """Copies the search index into a script, because a page that is opened as a local file can load only scripts."""
    index = Path(config.site_dir, "search", "search_index.json").read_text(encoding="utf-8")
    Path(config.site_dir, "search", "search_index.js").write_text(f"var __index = {index}\n", encoding="utf-8")
