"""Tables of words and numbers, for a terminal and for a document. Nothing here imports JAX."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Printed:
    """A table as text cells."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int
    """Columns from the left that are words; the others are numbers."""

    def rich(self, sections: Collection[int] = ()) -> Table:
        """The table for a terminal; a line follows each row whose number (from 0) is in `sections`."""
        table = Table(title=self.title)
        for i, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if i < self.words else "right")
        for number, row in enumerate(self.rows):
            table.add_row(*row, end_section=number in sections)
        return table

    def markdown(self) -> str:
        """The table for a document, in Markdown."""
        numbers = len(self.headings) - self.words
        return f"{self.title}\n\n{markdown(self.headings, self.rows, numbers=numbers)}\n"


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0) -> str:
    """A table in Markdown, whose last `numbers` columns stand right. A bar in a cell has to be escaped."""
    rule = ["-"] * (len(headings) - numbers) + ["-:"] * numbers
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *rows))
