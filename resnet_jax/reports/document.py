"""What a report is made of, without a file format: blocks that Markdown, HTML and the terminal each render."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Heading:
    """Title of a section; level 1 is the document's own."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str
    lead: bool = False
    """Whether it is the report's answer in short."""


@dataclass(frozen=True)
class Bullets:
    """A list of plain sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Plain text in rows and columns."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    """Columns from the left that are words and stand left; the rest are numbers and stand right."""

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.headers) for row in self.rows), "a row's length is the headers'"


@dataclass(frozen=True)
class Picture:
    """A figure, saved as <stem>.png and <stem>.svg in the report's directory."""

    stem: str
    caption: str
    alternative: str
    """What it shows, for those who cannot see it."""


Element = Heading | Paragraph | Bullets | Table | Picture


def markdown(blocks: Sequence[Element]) -> str:
    """The document as Markdown (with GitHub's tables); pictures are links to files beside it."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def markdown_table(table: Table) -> str:
    """One table as Markdown, its caption below."""
    rule = ["---" if i < table.text_columns else "---:" for i in range(len(table.headers))]
    lines = [table.headers, tuple(rule), *table.rows]
    body = [("| " + " | ".join(row if row is lines[1] else map(_escape, row)) + " |") for row in lines]
    return "\n".join(body) + (f"\n\n{_escape(table.caption)}" if table.caption else "")


def _block(block: Element) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_escape(text)}"
        case Paragraph(text, lead):
            return f"**{_escape(text)}**" if lead else _escape(text)
        case Bullets(items):
            return "\n".join(f"- {_escape(item)}" for item in items)
        case Table():
            return markdown_table(block)
        case Picture(stem, caption, alternative):
            return f"![{_escape(alternative)}]({Path(stem).name}.png)\n\n{_escape(caption)}"


def _escape(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text).replace("\n", " ")
