"""Renders a document as one self-contained HTML page, with its styles, figures, and a script for interactive curves."""

import base64
import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path

from resnet_jax.reports.document import Bullets, Cell, Command, Element, Heading, Link, Paragraph, Picture, Table

_STYLE, _SCRIPT = (
    resources.files("resnet_jax.reports").joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
)
_LEAD, _TEXT, _LONG = '<p class="lead">', ' class="text"', ' class="text long"'
_LONG_CELL = 48  # number of characters from which a cell with words may wrap


def page(title: str, blocks: Sequence[Element], folder: Path) -> str:
    """Renders the whole page. The pictures are read from <stem>.svg in `folder`."""
    body = "\n".join(_block(block, folder) for block in blocks)
    drawn = any(isinstance(block, Picture) and block.curves for block in blocks)
    script = f"<script>\n{_SCRIPT}</script>\n" if drawn else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n{script}</body>\n</html>\n"
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
        case Picture(curves=curves) if curves:
            # Inside a script a browser would read "<" in JSON as the beginning of a tag.
            data = json.dumps(curves, separators=(",", ":")).replace("<", "\\u003c")
            return (
                f'<figure class="curves">\n<script type="application/json">{data}</script>\n'
                f"<noscript>{_image(block, folder)}</noscript>\n"
                f"<figcaption>{_text(block.caption)}</figcaption>\n</figure>"
            )
        case Picture():
            return f"<figure>\n{_image(block, folder)}\n<figcaption>{_text(block.caption)}</figcaption>\n</figure>"


def _image(picture: Picture, folder: Path) -> str:
    # Not inline SVG, because two figures on one page could contain equal ids.
    data = base64.b64encode((folder / f"{picture.stem}.svg").read_bytes()).decode("ascii")
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(picture.alternative)}">'


def _table(table: Table) -> str:
    def row(cells: Sequence[Cell], tag: str, attributes: str = "") -> str:
        return (
            f"<tr>{''.join(_cell(cell, n < table.text_columns, tag, attributes) for n, cell in enumerate(cells))}</tr>"
        )

    rows = "\n".join(row(cells, "td") for cells in table.rows)
    head = row(table.headers, "th", ' scope="col"')
    return (
        f'<figure>\n<div class="scroll" role="region" aria-label="table" tabindex="0">\n<table>\n'
        f"<thead>{head}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n"
        f"<figcaption>{_text(table.caption)}</figcaption>\n</figure>"
    )


def _cell(cell: Cell, left: bool, tag: str, attributes: str) -> str:
    match cell:
        case Link(text, target):
            return f'<{tag}{attributes}{_TEXT}><a href="{escape(target)}">{_text(text)}</a></{tag}>'
        case Command(text):
            return f'<{tag}{attributes} class="command">{escape(text)}</{tag}>'
    if left:
        return f"<{tag}{attributes}{_LONG if len(cell) >= _LONG_CELL else _TEXT}>{_text(cell)}</{tag}>"
    # The mean and the number of diverged runs get two lines, since one line would make the column too wide.
    return f"<{tag}{attributes}>{_text(cell).replace('; ', ';<br>')}</{tag}>"


def _text(text: str) -> str:
    """Escapes a text, and keeps a number and its per cent sign on one line."""
    return escape(text).replace(" %", "\N{NO-BREAK SPACE}%")
