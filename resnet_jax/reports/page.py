"""A document as one self-contained HTML page: styles and figures inside, nothing fetched, no script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from resnet_jax.reports.document import Bullets, Element, Heading, Paragraph, Picture, Table

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1d1f; --soft: #5d6168; --paper: #ffffff; --line: #d9dce1; --band: #f5f6f8;
        --lead: #eef4fa; --edge: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e7ea; --soft: #a3a8b1; --paper: #16181b; --line: #363a41; --band: #1e2125; --lead: #1a2530;
          --edge: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
       font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0.5rem 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 0.75rem; padding-bottom: 0.25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 0.5rem; }
p, ul { max-width: 46rem; margin: 0.75rem 0; overflow-wrap: anywhere; }
ul { padding-left: 1.25rem; }
li { margin: 0.25rem 0; }
.lead { background: var(--lead); border-left: 4px solid var(--edge); padding: 0.8rem 1rem; border-radius: 0 4px 4px 0; }
figure { margin: 1.5rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line);
             border-radius: 4px; padding: 0.5rem; }
figcaption { color: var(--soft); font-size: 0.875rem; max-width: 46rem; margin-top: 0.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: 0.4rem 0.75rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; font-weight: 600; border-bottom: 2px solid var(--soft); white-space: normal; }
.text { text-align: left; }
td.long { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; }
tbody tr:nth-child(even) { background: var(--band); }
@media print { main { max-width: none; } figure, tr { break-inside: avoid; } }
"""

_LEAD, _TEXT, _LONG = '<p class="lead">', ' class="text"', ' class="text long"'
_LONG_CELL = 48  # characters from which a cell of words may wrap


def page(title: str, blocks: Sequence[Element], folder: Path) -> str:
    """The whole page; pictures are read from `folder`, where they lie as <stem>.svg."""
    body = "\n".join(_block(block, folder) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _block(block: Element, folder: Path) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_text(text)}</h{level}>"
        case Paragraph(text, lead):
            return f"{_LEAD if lead else '<p>'}{_text(text)}</p>"
        case Bullets(items):
            return "<ul>\n" + "\n".join(f"<li>{_text(item)}</li>" for item in items) + "\n</ul>"
        case Table():
            return _table(block)
        case Picture(stem, caption, alternative):
            # As an image, not as markup: the ids inside two figures must not meet in one page.
            data = base64.b64encode((folder / f"{stem}.svg").read_bytes()).decode("ascii")
            return (
                f'<figure>\n<img src="data:image/svg+xml;base64,{data}" alt="{escape(alternative)}">\n'
                f"<figcaption>{_text(caption)}</figcaption>\n</figure>"
            )


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str, attributes: str = "") -> str:
        inside = ""
        for number, cell in enumerate(cells):
            kind, text = "", _text(cell)
            if number < table.text_columns:
                kind = _LONG if len(cell) >= _LONG_CELL else _TEXT
            else:
                # A mean and the runs that diverged stand on two lines, or columns of numbers grow wide.
                text = text.replace("; ", ";<br>")
            inside += f"<{tag}{attributes}{kind}>{text}</{tag}>"
        return f"<tr>{inside}</tr>"

    rows = "\n".join(row(cells, "td") for cells in table.rows)
    head = row(table.headers, "th", ' scope="col"')
    return (
        f'<figure>\n<div class="scroll" role="region" aria-label="table" tabindex="0">\n<table>\n'
        f"<thead>{head}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n"
        f"<figcaption>{_text(table.caption)}</figcaption>\n</figure>"
    )


def _text(text: str) -> str:
    """Escaped, and a number stays on one line with its per cent sign."""
    return escape(text).replace(" %", "\N{NO-BREAK SPACE}%")
