"""A paper's table beside ours, line by line: the order of its lines, ours, and which nets fail.

On other data or with another recipe the paper's numbers mean nothing, but the order of its lines is a prediction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from resnet_jax.reports.comparison import FINAL_MEASURES, Comparison, Variant
from resnet_jax.reports.document import Table
from resnet_jax.reports.findings import Pair
from resnet_jax.reports.papers.published import FAILS, TABLES, PaperRow, PaperTable
from resnet_jax.reports.tables import PaperColumns, measured
from resnet_jax.reports.text import MINUS

# Fewer lines of a table are no comparison of lines: a plain and a residual net alone belong to Table 1, too.
LEAST = 3
_FAILS = "fails"


@dataclass(frozen=True)
class Line:
    """A variant and the line of the paper's table that it belongs to."""

    row: PaperRow
    variant: Variant

    @property
    def error(self) -> float:
        """Mean test error, a fraction; infinite where every run diverged."""
        summary = self.variant.summary("test_error")
        return math.inf if summary is None else summary.mean

    @property
    def papers_error(self) -> float:
        """The paper's, at this depth or the nearest that it has; infinite where it says that the net fails."""
        error = self.row.result(self.variant.config.model).test_error
        return math.inf if error is None else error

    @property
    def fails(self) -> bool:
        """As the paper defines it."""
        return self.error > FAILS


@dataclass(frozen=True)
class PaperLines:
    """The nets of a comparison as lines of a paper's table."""

    table: PaperTable
    lines: tuple[Line, ...]
    """In the paper's order of lines, each by depth."""

    @property
    def by_depth(self) -> Mapping[int, tuple[Line, ...]]:
        """The lines of each depth."""
        depths = sorted({line.variant.depth for line in self.lines})
        return {depth: tuple(line for line in self.lines if line.variant.depth == depth) for depth in depths}


def find_lines(comparison: Comparison) -> PaperLines | None:
    """The table of which every net of the comparison is a line, where at least three lines are there."""
    for table in TABLES:
        found = [(table.row(cell.config.model), cell) for cell in comparison.cells]
        lines = [Line(row, cell) for row, cell in found if row is not None]
        different = {(line.row.case, line.variant.depth) for line in lines}
        if len(lines) == len(found) == len(different) and len({case for case, _ in different}) >= LEAST:
            place = {id(row): number for number, row in enumerate(table.rows)}
            return PaperLines(table, tuple(sorted(lines, key=lambda line: (place[id(line.row)], line.variant.depth))))
    return None


def ranks(errors: list[float]) -> list[str]:
    """The place of each error, from 1 for the lowest; "fails" for those above 20 %."""
    return [_FAILS if e > FAILS else str(1 + sum(other < e for other in errors)) for e in errors]


def in_order(lines: tuple[Line, ...]) -> tuple[int, int]:
    """How many pairs of lines the paper orders, and how many of these have the same order here."""
    pairs = [
        (a, b) if a.papers_error < b.papers_error else (b, a)
        for a, b in itertools.combinations(lines, 2)
        if a.papers_error != b.papers_error
    ]
    return len(pairs), sum(better.error < worse.error for better, worse in pairs)


def lines_table(found: PaperLines) -> Table:
    """The lines in the paper's order, with our errors, and both orders."""
    table, papers = found.table, PaperColumns([line.variant for line in found.lines], (found.table,))
    headers = ("case", "depth", "seeds", "training error, %", "test error, %", "place", "the paper's place")
    places: dict[int, tuple[str, str]] = {}
    for lines in found.by_depth.values():
        both = (ranks([line.error for line in lines]), ranks([line.papers_error for line in lines]))
        places |= {id(line): place for line, *place in zip(lines, *both, strict=True)}  # type: ignore[misc]
    rows = []
    for line in found.lines:
        variant = line.variant
        row = (line.row.case, str(variant.depth), str(len(variant.runs)))
        errors = tuple(measured(variant, m) for m in FINAL_MEASURES)
        rows.append((*row, *errors, *places[id(line)], *papers.cells(variant)))
    caption = (
        f"The lines of {table.source}, in its order. Errors: the net of the last step, in eval mode; mean ± sample "
        "standard deviation over the seeds that finished. Place: of the mean test error among the lines of a depth, "
        "from the lowest; the paper's beside it, from its own data and depth; "
        f'"{_FAILS}" as the paper defines it, a test error above 20 %.'
    )
    return Table(caption + papers.caption, (*headers, *papers.headers), tuple(rows))


def against_the_first(found: PaperLines) -> list[Pair]:
    """Each line with the paper's first, the original net; none at a depth at which that is missing."""
    first, pairs = found.table.rows[0], []
    for depth, lines in found.by_depth.items():
        at = f", {depth} layers" * (len(found.by_depth) > 1)
        for original in (line for line in lines if line.row is first):
            others = (line for line in lines if line is not original)
            pairs += [(f"{o.row.case} {MINUS} {first.case}{at}", o.variant, original.variant) for o in others]
    return pairs


def lines_headline(found: PaperLines) -> str:
    """The answer in one sentence: which nets fail here and in the paper, and how far the orders agree."""
    clauses = []
    for depth, lines in found.by_depth.items():
        ours, papers = sum(line.fails for line in lines), sum(line.papers_error > FAILS for line in lines)
        pairs, agree = in_order(lines)
        clauses.append(
            f"{ours} of {len(lines)} nets of {depth} layers fail ({papers} in the paper), and {agree} of the {pairs} "
            "pairs that the paper orders have its order"
        )
    return f"On {found.lines[0].variant.runs[0].record.data.name}, {'; '.join(clauses)}."
