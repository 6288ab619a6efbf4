"""The control experiment of a comparison of depths: does more training remove the degradation of plain nets?

He et al. 2015, Sec. 4.1, trained plain nets on ImageNet for three times as many iterations, and still saw degradation.
In the control, the deepest plain net is trained with more iterations and at other learning rates. The gap is the
training error of this net minus that of a shallower plain net. This module computes how much of the gap remains.
"""

from dataclasses import dataclass
from typing import Literal

from resnet_jax.reports.comparison import FINAL_MEASURES, Comparison, Variant
from resnet_jax.reports.document import Table
from resnet_jax.reports.stats import MIN_PAIRS, Difference, difference
from resnet_jax.reports.tables import measured
from resnet_jax.reports.text import MINUS, NOTHING, TIMES, count, difference_text, interval_cell, interval_words, points

# A gap is closed if the whole confidence interval of the remaining gap lies below one percentage point.
CLOSED = 0.01

Conclusion = Literal[
    "no comparison",
    "too few seeds",
    "no gap",
    "deeper is better",
    "closed",
    "within a point",
    "partly closed",
    "not reduced",
    "larger",
    "undecided",
]


@dataclass(frozen=True)
class Control:
    """The deepest plain net with several numbers of iterations (budgets) and learning rates, and nets to compare it
    with."""

    base: Variant
    """The deepest plain net with the smallest budget, at the learning rate of the main comparison."""
    points: tuple[Variant, ...]
    """The deepest plain net with every budget and learning rate, including `base`."""
    best: Variant | None
    """The variant of `points` with the largest budget and the lowest mean training error; None if all these variants
    diverged. A variant of which fewer than `MIN_PAIRS` runs finished is chosen only if all are like that: the mean of
    the few runs that survive a learning rate says little about the rate."""
    shallow: Variant | None
    """The shallower plain net, with the budget and learning rate of `base`."""
    residual: Variant | None
    """The residual net that differs from `base` only in its shortcuts."""
    shallow_residual: Variant | None
    """The shallower residual net, with the budget and learning rate of `base`."""
    references: tuple[Variant, ...]
    """All other variants with other budgets or learning rates."""

    @property
    def largest(self) -> tuple[Variant, ...]:
        """The variants of `points` with the most iterations."""
        most = max(point.iterations for point in self.points)
        return tuple(point for point in self.points if point.iterations == most)

    @property
    def gap(self) -> Difference | None:
        """Training error of `base` minus that of `shallow`, the shallower plain net; None without `shallow`."""
        return errors_apart(self.base, self.shallow)

    @property
    def left(self) -> Difference | None:
        """The remaining gap: training error of `best` minus that of `shallow`."""
        return errors_apart(self.best, self.shallow)

    @property
    def gone(self) -> Difference | None:
        """Training error of `base` minus that of `best`: the decrease through more training."""
        return errors_apart(self.base, self.best)

    @property
    def conclusion(self) -> Conclusion:
        """The conclusion from the confidence intervals of `gap`, `left` and `gone`."""
        gap, left, gone = self.gap, self.left, self.gone
        if gap is None or left is None or gone is None:
            return "no comparison"
        if gap.interval is None or left.interval is None or gone.interval is None:
            return "too few seeds"
        if gap.interval.high < 0.0:
            return "deeper is better"
        if gap.interval.low <= 0.0:
            return "no gap"
        if left.interval.high < CLOSED:
            return "closed" if gone.interval.low > 0.0 else "within a point"
        if left.interval.low <= 0.0:
            return "undecided"
        if gone.interval.high < 0.0:
            return "larger"
        return "partly closed" if gone.interval.low > 0.0 else "not reduced"


def find_control(comparison: Comparison) -> Control | None:
    """Finds the control experiment: runs of the deepest plain net with other iterations or learning rates.

    Returns None if there are no such runs, or if the comparison is not one of depths.
    """
    plain = [cell for cell in comparison.cells if cell.is_plain]
    if not plain or comparison.question != "depth":
        return None
    main = plain[-1]
    others = [v for v in comparison.others if (v.net, v.depth) == (main.net, main.depth)]
    if not others:
        return None
    points = tuple(sorted((main, *others), key=lambda v: (v.iterations, -v.rate, v.schedule)))
    twin = next((other for cell, other in comparison.twins() if cell is main), None)
    shallow_residual = None if twin is None else comparison.base_cell(twin.net)
    compared = [comparison.base_cell(main.net), twin, shallow_residual]
    everything = (*comparison.cells, *comparison.others)

    def same_budget(variant: Variant | None, point: Variant) -> Variant | None:
        if variant is None or (variant.net, variant.depth) == (point.net, point.depth):
            return None
        alike = (v for v in everything if (v.net, v.depth) == (variant.net, variant.depth))
        return next((v for v in alike if (v.iterations, v.schedule) == (point.iterations, point.schedule)), None)

    # The smallest budget with which the shallower net was also trained: without this net there is no gap.
    scheduled = [point for point in points if point.schedule == main.schedule]
    base = next((point for point in scheduled if same_budget(compared[0], point) is not None), main)
    shallow, residual, shallow_residual = (same_budget(variant, base) for variant in compared)
    if residual is not None and shallow_residual is residual:
        shallow_residual = None
    most = max(point.iterations for point in points)
    candidates = [(s, p) for p in points if p.iterations == most and (s := p.summary("train_error")) is not None]
    best = min(candidates, key=lambda pair: (pair[0].n < MIN_PAIRS, pair[0].mean))[1] if candidates else None
    names = {(v.net, v.depth) for v in compared if v is not None}
    rest = (*(cell for cell in comparison.cells if (cell.net, cell.depth) in names), *comparison.others)
    taken = {id(v) for v in (*points, shallow, residual, shallow_residual)}
    references = tuple(v for v in rest if id(v) not in taken)
    return Control(base, points, best, shallow, residual, shallow_residual, references)


def control_findings(control: Control) -> Table:
    """Makes a table of the gap in training error, its decrease through more training, and the remaining gap."""
    longest, best = control.largest[0].iterations, control.best
    rates = len({point.schedule for point in control.largest})
    pairs: list[tuple[str, Variant | None, Variant | None]] = [("gap", control.base, control.shallow)]
    if best is not None:
        pairs += [("decrease with more training", control.base, best), ("remaining gap", best, control.shallow)]
        for other in (control.shallow, control.residual):
            if other is not None and other.iterations != longest:
                pairs.append(("remaining, equal iterations", best, as_long(control, other)))
        pairs.append(("remaining, residual net", best, control.residual))
    rows = []
    for label, left, right in pairs:
        if left is not None and right is not None:
            apart = errors_apart(left, right)
            what = f"{_trained(left)} {MINUS} {_trained(right)}"
            rows.append((label, what, difference_text(apart), interval_cell(apart)))
    caption = (
        "Differences in training error, in percentage points. The gap is the error of the deepest plain net minus "
        f"that of a shallower one. More training: {count(longest)} iterations at the best of {rates} rates, the one "
        "with the lowest mean training error, which favours the plain net."
    )
    few = {point.schedule for point in control.largest if len(point.finished) < MIN_PAIRS}
    if best is not None and few and best.schedule not in few:
        caption += f" A rate with which fewer than {MIN_PAIRS} runs finished is left out."
    return Table(caption, ("what", "difference", "points", "95 % interval"), tuple(rows), text_columns=2)


def control_sentence(control: Control) -> str:
    """Writes one sentence on whether more training removes the degradation of plain nets."""
    gap, left, gone = control.gap, control.left, control.gone
    if gap is None or left is None or gone is None or control.best is None:
        return "These runs do not answer whether longer training closes the gap."
    longer = control.best.iterations > control.base.iterations
    more, cause = ("more training", "slow optimisation") if longer else ("another rate", "the choice of rate")
    return {
        "too few seeds": f"Fewer than {MIN_PAIRS} seeds finished: too few to conclude anything from.",
        "no gap": "No gap is established: its interval includes zero, so there is no gap to close.",
        "deeper is better": f"No gap: the deeper plain net has the lower training error {interval_words(gap)}.",
        "within a point": (
            f"{points(left, signed=True)} of the gap remain {interval_words(left)}, less than one point; but it is not "
            f"established that {more} made the gap smaller."
        ),
        "closed": f"{more.capitalize()} closes the gap to within one point: it was {cause}.",
        "partly closed": (
            f"Part of the gap was {cause}: {points(gone)} of {points(gap)} disappeared {interval_words(gone)}, and "
            f"{points(left)} remain {interval_words(left)}."
        ),
        "not reduced": f"{more.capitalize()} does not measurably reduce the gap: {points(left)} remain.",
        "larger": f"{more.capitalize()} made the gap larger: {points(left)} remain.",
    }.get(control.conclusion, f"Undecided: the remaining gap may be zero or several points {interval_words(left)}.")


def _trained(variant: Variant) -> str:
    return f"{variant.name} ({count(variant.iterations)} iterations, rate {variant.schedule})"


def control_table(control: Control) -> Table:
    """Makes a table of errors by number of iterations and learning rate, for all nets of a control experiment."""
    compared = [v for v in (control.shallow, control.residual, control.shallow_residual) if v is not None]
    rest = sorted(
        (*compared, *control.references), key=lambda v: (not v.is_plain, v.net, v.depth, v.iterations, -v.rate)
    )
    rows = []
    for variant in (*control.points, *rest):
        times = f"{variant.iterations / control.base.iterations:.3g}{TIMES}"
        row = (variant.net, str(variant.depth), f"{count(variant.iterations)} ({times})", variant.schedule)
        rows.append((*row, str(len(variant.runs)), *(measured(variant, m) for m in FINAL_MEASURES)))
    headers = ("net", "depth", "iterations", "rate", "seeds", "training error, %", "test error, %")
    caption = (
        f"{control.base.name} with other numbers of iterations and learning rates, then the nets to compare it with. "
        "Training error in eval mode over all training examples; mean ± sample standard deviation over finished seeds."
    )
    return Table(caption, headers, tuple(rows))


def gap_table(control: Control) -> Table | None:
    """Makes a table of the training error of a deep net minus that of a shallower net, by number of iterations.

    The columns are for plain and for residual nets.

    Returns None if the table would have fewer than two rows.
    """
    pairs = [(control.base, control.shallow), (control.residual, control.shallow_residual)]
    named = [(deep, shallow) for deep, shallow in pairs if deep is not None and shallow is not None]
    rate = control.base.schedule
    by_budget = [
        [{v.iterations: v for v in _trainings(control, net) if v.schedule == rate} for net in pair] for pair in named
    ]
    rows = []
    for iterations in sorted({budget for deep, _ in by_budget for budget in deep}):
        cells: list[str] = []
        for deep, shallow in by_budget:
            apart = errors_apart(deep.get(iterations), shallow.get(iterations))
            cells += [difference_text(apart), interval_cell(apart)]
        if set(cells) != {NOTHING}:
            times = f"{iterations / control.base.iterations:.3g}{TIMES}"
            rows.append((f"{count(iterations)} ({times})", *cells))
    if len(rows) < 2:
        return None
    titles = [f"{deep.name} {MINUS} {shallow.name}" for deep, shallow in named]
    headers = ("iterations", *(cell for title in titles for cell in (title, "95 % interval")))
    caption = (
        f"Training error of deep nets minus shallower nets, in percentage points, at the rate {rate}; mean ± sample "
        "standard deviation of the differences by seed, or both differences if there are two."
    )
    return Table(caption, headers, tuple(rows), text_columns=1)


def _trainings(control: Control, variant: Variant) -> list[Variant]:  # by budget and rate
    compared = (control.shallow, control.residual, control.shallow_residual)
    everything = (*control.points, *compared, *control.references)
    return [v for v in everything if v and (v.net, v.depth) == (variant.net, variant.depth) and v.finished]


def as_long(control: Control, variant: Variant) -> Variant | None:
    """Finds a variant with the same net and depth as `variant`, and with as many iterations as `control.largest`.

    Of several such variants, the one with the learning rate of `control.best` is returned. If none has this rate, the
    one with the lowest mean training error is returned. Returns None if there is no such variant.
    """

    def preference(v: Variant) -> tuple[bool, float]:
        summary = v.summary("train_error")
        assert summary is not None  # a run finished
        return control.best is None or v.schedule != control.best.schedule, summary.mean

    longest = [v for v in _trainings(control, variant) if v.iterations == control.largest[0].iterations]
    return min(longest, key=preference, default=None)


def errors_apart(left: Variant | None, right: Variant | None) -> Difference | None:
    """Difference in training error, `left` minus `right`; None if either variant is missing."""
    if left is None or right is None:
        return None
    return difference(left.by_seed("train_error"), right.by_seed("train_error"))
