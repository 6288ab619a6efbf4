"""A table of a benchmark, for a terminal and for a document. Nothing here imports JAX."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Printed:
    """A table in words."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: int
    """Columns from the left that are words; the others are numbers."""

    def rich(self) -> Table:
        """For a terminal."""
        table = Table(title=self.title)
        for i, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if i < self.words else "right")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For a document."""
        rule = ["-" if i < self.words else "-:" for i in range(len(self.headings))]
        lines = [self.headings, rule, *self.rows]
        return f"{self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
