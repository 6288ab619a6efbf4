"""The parts of a report, independent of the file format: blocks for Markdown, HTML and the terminal."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Heading:
    """A section title; level 1 is the title of the document."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str
    lead: bool = False
    """Whether the paragraph is the short answer at the start of the report."""


@dataclass(frozen=True)
class Bullets:
    """A list of plain sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Link:
    """A link to a file, by its path relative to the report's folder."""

    text: str
    target: str


@dataclass(frozen=True)
class Command:
    """A command line for the user to type."""

    text: str


Cell = str | Link | Command


@dataclass(frozen=True)
class Table:
    """A table whose cells are plain text, links or commands."""

    caption: str
    headers: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    text_columns: int = 1
    """Number of columns with words, which come first and are aligned left. The other columns are aligned right."""

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.headers) for row in self.rows), "a row's length is the headers'"


@dataclass(frozen=True)
class Picture:
    """A figure, saved as <stem>.png and <stem>.svg in the report's directory."""

    stem: str
    caption: str
    alternative: str
    """Alternative text."""
    curves: Mapping[str, Any] | None = None
    """The data of the curves, for the interactive figure of the HTML page (page.js); None: no interactive figure."""


Element = Heading | Paragraph | Bullets | Table | Picture


def markdown(blocks: Sequence[Element]) -> str:
    """Renders blocks as Markdown with GitHub's tables. Pictures are links to PNG files in the same folder."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def markdown_table(table: Table) -> str:
    """Renders a table as Markdown, with its caption below."""
    rule = ["---" if i < table.text_columns else "---:" for i in range(len(table.headers))]
    lines = [list(map(_escape, table.headers)), rule, *(list(map(_cell, row)) for row in table.rows)]
    body = ["| " + " | ".join(row) + " |" for row in lines]
    return "\n".join(body) + (f"\n\n{_escape(table.caption)}" if table.caption else "")


def _cell(cell: Cell) -> str:
    match cell:
        case Link(text, target):
            return f"[{_escape(text)}](<{target}>)"
        case Command(text):
            return f"`{text.replace('|', chr(92) + '|')}`"
        case _:
            return _escape(cell)


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
