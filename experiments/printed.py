"""Tables of words and numbers, printed on a terminal or as Markdown. This module does not import JAX."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Printed:
    """A table whose cells are texts."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int
    """Number of columns, from the left, that contain words; the others contain numbers."""

    def rich(self, sections: Collection[int] = ()) -> Table:
        """The table for a terminal, with a line after each row whose number (from 0) is in `sections`."""
        table = Table(title=self.title)
        for i, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if i < self.words else "right")
        for number, row in enumerate(self.rows):
            table.add_row(*row, end_section=number in sections)
        return table

    def markdown(self) -> str:
        numbers = len(self.headings) - self.words
        return f"{self.title}\n\n{markdown(self.headings, self.rows, numbers=numbers)}\n"


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0) -> str:
    """Formats a table in Markdown. The last `numbers` columns are aligned right. Cells must escape the character |."""
    rule = ["-"] * (len(headings) - numbers) + ["-:"] * numbers
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *rows))
