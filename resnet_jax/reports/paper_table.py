"""Compares runs with the lines of a paper's table: the order of their errors, and which nets fail.

With other data or another recipe, our errors cannot be compared with the paper's. But the paper predicts which of two
nets has the lower error.
"""

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

# Fewer lines have hardly an order: one plain and one residual net are already two lines of Table 1.
LEAST = 3
_FAILS = "fails"


@dataclass(frozen=True)
class Line:
    """A variant, and the line of the paper's table that has the same net."""

    row: PaperRow
    variant: Variant

    @property
    def error(self) -> float:
        """Mean test error of the variant, a fraction; infinite if every run diverged."""
        summary = self.variant.summary("test_error")
        return math.inf if summary is None else summary.mean

    @property
    def papers_error(self) -> float:
        """The paper's test error for the line, as a fraction; infinite if the net fails in the paper.

        If the paper has no error at this depth, the error at another depth is used.
        """
        error = self.row.result(self.variant.config.model).test_error
        return math.inf if error is None else error

    @property
    def fails(self) -> bool:
        """Whether the net fails, by the paper's definition: a test error above 20 %."""
        return self.error > FAILS


@dataclass(frozen=True)
class PaperLines:
    """The variants of a comparison as lines of a paper's table."""

    table: PaperTable
    lines: tuple[Line, ...]
    """The lines in the paper's order. Variants with the same line are ordered by depth."""

    @property
    def by_depth(self) -> Mapping[int, tuple[Line, ...]]:
        """The lines of the paper's table, by depth of the net."""
        depths = sorted({line.variant.depth for line in self.lines})
        return {depth: tuple(line for line in self.lines if line.variant.depth == depth) for depth in depths}


def find_lines(comparison: Comparison) -> PaperLines | None:
    """Finds a paper's table that has a line for every variant; None if there is no such table.

    The variants must belong to at least three different lines. Two variants of the same depth must not belong to the
    same line.
    """
    for table in TABLES:
        found = [(table.row(cell.config.model), cell) for cell in comparison.cells]
        lines = [Line(row, cell) for row, cell in found if row is not None]
        different = {(line.row.case, line.variant.depth) for line in lines}
        if len(lines) == len(found) == len(different) and len({case for case, _ in different}) >= LEAST:
            place = {id(row): number for number, row in enumerate(table.rows)}
            return PaperLines(table, tuple(sorted(lines, key=lambda line: (place[id(line.row)], line.variant.depth))))
    return None


def ranks(errors: list[float]) -> list[str]:
    """The rank of each error as text: "1" for the lowest, and "fails" for errors above 20 %."""
    return [_FAILS if e > FAILS else str(1 + sum(other < e for other in errors)) for e in errors]


def in_order(lines: tuple[Line, ...]) -> tuple[int, int]:
    """Counts the pairs of lines in which our errors have the same order as the paper's errors.

    Pairs with equal errors in the paper have no order, and are left out.

    Returns:
      The number of all pairs with an order, and the number of pairs that have the same order here.
    """
    pairs = [
        (a, b) if a.papers_error < b.papers_error else (b, a)
        for a, b in itertools.combinations(lines, 2)
        if a.papers_error != b.papers_error
    ]
    return len(pairs), sum(better.error < worse.error for better, worse in pairs)


def lines_table(found: PaperLines) -> Table:
    """Makes a table of the lines in the paper's order, with our errors, our ranks and the paper's ranks."""
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
        "standard deviation over the seeds that finished. Place: the rank of the mean test error among the lines of "
        "one depth, with 1 for the lowest; the paper's place is the rank of its errors, on its data and depth; "
        f'"{_FAILS}" as the paper defines it, a test error above 20 %.'
    )
    return Table(caption + papers.caption, (*headers, *papers.headers), tuple(rows))


def against_the_first(found: PaperLines) -> list[Pair]:
    """Pairs each line with the original net of the same depth, which is the first line of the paper's table."""
    first, pairs = found.table.rows[0], []
    for depth, lines in found.by_depth.items():
        at = f", {depth} layers" * (len(found.by_depth) > 1)
        for original in (line for line in lines if line.row is first):
            others = (line for line in lines if line is not original)
            pairs += [(f"{o.row.case} {MINUS} {first.case}{at}", o.variant, original.variant) for o in others]
    return pairs


def lines_headline(found: PaperLines) -> str:
    """Writes one sentence: how many nets fail here and in the paper, and how many pairs have the paper's order."""
    clauses = []
    for depth, lines in found.by_depth.items():
        ours, papers = sum(line.fails for line in lines), sum(line.papers_error > FAILS for line in lines)
        pairs, agree = in_order(lines)
        clauses.append(
            f"{ours} of {len(lines)} nets of {depth} layers fail ({papers} in the paper), and {agree} of the {pairs} "
            "pairs that the paper orders have its order"
        )
    return f"On {found.lines[0].variant.runs[0].record.data.name}, {'; '.join(clauses)}."
