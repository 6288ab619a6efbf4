"""The tables of a report. Errors are in per cent, and differences are in percentage points."""

from collections.abc import Callable, Sequence

from resnet_jax.config import ExperimentConfig, flatten, to_dict
from resnet_jax.reports import fields
from resnet_jax.reports.comparison import MEASURES, Comparison, Measure, Variant
from resnet_jax.reports.document import Cell, Table
from resnet_jax.reports.papers.published import TABLES, PaperResult, PaperTable
from resnet_jax.reports.papers.recipe import paper_result
from resnet_jax.reports.runs import Run
from resnet_jax.reports.stats import Summary
from resnet_jax.reports.text import (
    NOTHING,
    count,
    diverged_text,
    percent,
    seconds,
    summary_text,
)


def measured(variant: Variant, measure: Measure) -> str:
    """The text of a cell: mean ± standard deviation over finished runs, and the number of diverged runs, if any."""
    parts = []
    summary = variant.summary(measure)
    if summary is not None:
        parts.append(summary_text(summary))
    elif not variant.diverged:
        parts.append(NOTHING)
    if variant.diverged:
        parts.append(diverged_text(variant.diverged, len(variant.runs)))
    return "; ".join(parts)


def paper_of(variant: Variant, tables: tuple[PaperTable, ...] = TABLES) -> PaperResult | None:
    """The paper's result for a variant, if all its runs have the paper's data and recipe; otherwise None."""
    results = [paper_result(run.record, tables) for run in variant.runs]
    return results[0] if all(result is not None for result in results) else None


def error_table(comparison: Comparison) -> Table:
    """Makes the main table: a row for each variant, with its name and errors.

    A paper's error is shown for variants with the paper's data and recipe. A comparison of depths has columns for depth
    and net. Other comparisons have columns for the fields that differ, the number of parameters, and the multiply-adds.
    """
    by_depth, by_row, names = comparison.question == "depth", comparison.axis is None, comparison.varied
    papers = PaperColumns(comparison.cells)
    first = ["depth", "net"] if by_depth else ["variant"] if by_row else [fields.word(name) for name in names]
    sizes = () if by_depth else ("parameters", "multiply-adds, M")
    rows = []
    for cell in comparison.cells:
        flat, record = fields.values(cell.config), cell.runs[0].record
        who = [fields.value_words(name, flat[name]) for name in names]
        who = [str(cell.depth), cell.net] if by_depth else [cell.label] if by_row else who
        size = () if by_depth else (count(record.parameters), f"{record.multiply_adds / 1e6:.2f}")
        errors = (measured(cell, m) for m in MEASURES)
        rows.append((*who, str(len(cell.runs)), *errors, *size, *papers.cells(cell)))
    baseline = comparison.baseline
    common = fields.words(baseline.config, names) if by_row and not by_depth and names else ""
    caption = (
        f"{f'The baseline is {baseline.name} with {common}. ' if common else ''}Training error: the net of the last "
        "step in eval mode, over all training examples. Running training error: during training, in train mode, "
        "over the last epoch, which may be incomplete. Test error: the net of the last step, over all "
        "test examples. Mean ± sample standard deviation over the seeds that finished."
        + " Multiply-adds of one image's forward pass, in millions."
        * (not by_depth)
    )
    errors_of = (f"{words}, %" for words in MEASURES.values())
    headers = (*first, "seeds", *errors_of, *sizes, *papers.headers)
    return Table(caption + papers.caption, headers, tuple(rows), text_columns=len(first))


class PaperColumns:
    """The columns with a paper's errors. There are no columns if no variant has a paper's data and recipe."""

    def __init__(self, cells: Sequence[Variant], tables: tuple[PaperTable, ...] = TABLES) -> None:
        self._results = {id(cell): paper_of(cell, tables) for cell in cells}
        sources = list(dict.fromkeys(result.source for result in self._results.values() if result is not None))
        self.headers: tuple[str, ...] = ()
        self.caption = ""
        if sources:
            self.headers = (f"{' and '.join(sources)}, %", "difference, points")
            verb = "is" if len(sources) == 1 else "are"
            self.caption = (
                f" {' and '.join(sources)}, {verb} shown where data and recipe are the paper's; difference: ours minus "
                "the paper's."
            )

    def cells(self, variant: Variant) -> tuple[str, ...]:
        """The cells of one variant: the paper's error, and our error minus the paper's. No cells if there are no
        columns."""
        if not self.headers:
            return ()
        paper, ours = self._results[id(variant)], variant.summary("test_error")
        if paper is None:
            return (NOTHING, NOTHING)
        if paper.test_error is None:
            return ("fails", NOTHING)
        value = percent(paper.test_error) + (f" ± {percent(paper.std)}" if paper.std is not None else "")
        return (value, NOTHING if ours is None else percent(ours.mean - paper.test_error, signed=True))


def cost_table(comparison: Comparison) -> Table:
    """Makes a table of the size and cost of each variant. Times are means over the finished runs."""
    rows = []
    for variant in (*comparison.cells, *comparison.others):
        costs = [run.record.cost for run in variant.finished]
        first = variant.runs[0].record
        price = [NOTHING] * 3
        if costs:
            price = [
                seconds(Summary(tuple(c.total_s for c in costs)).mean),
                seconds(Summary(tuple(c.compile_s for c in costs)).mean),
                count(round(Summary(tuple(c.images_per_second for c in costs)).mean)),
            ]
        size = [count(first.parameters), f"{first.multiply_adds / 1e6:.2f}"]
        name = variant.label or variant.name
        rows.append((name, count(variant.iterations), variant.schedule, *size, *price))
    headers = ("net", "iterations", "rate", "parameters", "multiply-adds, M", "time per run", "compile", "images/s")
    caption = (
        "Multiply-adds of one image's forward pass, in millions. Times: wall clock, mean over the runs that finished; "
        "images per second over the training loop alone."
    )
    return Table(caption, headers, tuple(rows))


def twins_table(comparison: Comparison) -> Table | None:
    """Makes a table that compares the parameters and initial values of plain nets with those of their residual twins.

    Twins differ only in their shortcuts. Returns None if the comparison has no twins.
    """
    rows = []
    for plain, other in comparison.twins():
        mine, theirs = ({run.seed: run.record.initial_fingerprint for run in v.runs} for v in (plain, other))
        seeds = mine.keys() & theirs.keys()
        equal = sum(mine[seed] == theirs[seed] for seed in seeds)
        sizes = [count(variant.runs[0].record.parameters) for variant in (plain, other)]
        model = other.config.model
        twins = model.shortcut == "A" or (model.shortcut == "identity" and model.block_kind == "basic")
        same = sizes[0] == sizes[1] and equal == len(seeds)
        said = "equal" if same else "not equal, but should be" if twins else NOTHING
        rows.append(
            (
                str(plain.depth),
                f"{plain.net}, {other.net}",
                *sizes,
                f"{equal} of {len(seeds)}",
                said if seeds else "no common seed",
            )
        )
    caption = (
        "A plain net and its residual twin with option A should have the same parameters and, for one seed, the same "
        "initial values; projections (B and C) have parameters of their own."
    )
    headers = ("depth", "nets", "parameters", "of the second", "seeds with equal initial values", "twins")
    return Table(caption, headers, tuple(rows), text_columns=2) if rows else None


def runs_table(runs: Sequence[Run], links: Callable[[Run], tuple[Cell, ...]] | None = None) -> Table:
    """Makes a table with a row for each run. One column lists the fields in which a run differs from the first run.

    Args:
      runs: the runs, in the order of the rows.
      links: function that returns three more cells for a run: its record, its configuration, its command.
    """
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        if run.diverged:
            at = run.record.diverged_at_step
            errors = [f"diverged at step {count(at)}" if at is not None else "diverged", NOTHING, NOTHING]
        else:
            running = run.running_error
            errors = [percent(run.train_error), NOTHING if running is None else percent(running)]
            errors.append(percent(run.test_error))
        cost = (seconds(run.record.cost.total_s), str(run.record.cost.sessions))
        more = () if links is None else links(run)
        rows.append((run.name, "; ".join(_apart(runs[0], run)) or NOTHING, str(run.seed), *errors, *cost, *more))
    headers = ("run", "differs from the first in", "seed", "training error, %", "running, %", "test error, %")
    more_headers = () if links is None else ("record", "configuration", "repeat with")
    caption = "One row per run. Sessions: how many times the run was started; 1 without interruptions."
    return Table(caption, (*headers, "time", "sessions", *more_headers), tuple(rows), text_columns=2)


def _apart(first: Run, run: Run) -> list[str]:
    """Lists the fields in which a run differs from the first run, as "name = value".

    Fields that another column shows are left out.
    """
    mine, theirs = (flatten(to_dict(r.record.config)) for r in (run, first))
    said = ExperimentConfig.fields_where(lambda role: role.named or role.compared == "seed")
    fields = [f"{name} = {mine[name]}" for name in mine if name not in said and mine[name] != theirs[name]]
    return fields if run.record.data == first.record.data else [f"data = {run.record.data.name}", *fields]
