"""The findings of a comparison: differences between variants, with intervals and verdicts, and a summary sentence."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from resnet_jax.reports import fields
from resnet_jax.reports.comparison import FINAL_MEASURES, MEASURES, Comparison, Variant
from resnet_jax.reports.document import Table
from resnet_jax.reports.stats import Difference, paired_difference
from resnet_jax.reports.text import (
    MINUS,
    NOTHING,
    difference_text,
    interval_cell,
    interval_words,
    listed,
    nets,
    points,
    shortened,
    summary_text,
)
from resnet_jax.text import plural

Verdict = Literal["worse", "better", "equal", "not established", "too few seeds", "no pair"]

MOST_ALL_PAIRS = 4
"""Largest number of variants for which all pairs are compared. With more, each variant is compared with the baseline
only."""
MOST_NAMED = 6
"""Largest number of variants that the summary sentence names. With more, it gives the number of variants with each
verdict."""


@dataclass(frozen=True)
class Finding:
    """The difference in one kind of error between two variants."""

    label: str
    """The two variants in words."""
    measure: str
    """"training error" or "test error"."""
    difference: Difference | None
    """The first variant minus the second, paired by seed; None if no seed finished in both."""

    @property
    def verdict(self) -> Verdict:
        """The verdict on the difference."""
        return verdict(self.difference)


def verdict(difference: Difference | None) -> Verdict:
    """Judges a difference.

    The result is the first verdict in this list whose condition holds:

    - "no pair": there is no difference (None).
    - "too few seeds": the difference has no interval.
    - "equal": the difference of every pair is zero.
    - "not established": the interval includes zero.
    - "worse": the mean difference is positive.
    - "better": the mean difference is negative.
    """
    if difference is None:
        return "no pair"
    if difference.interval is None:
        return "too few seeds"
    if difference.paired and not any(difference.values):
        return "equal"
    if not difference.interval.excludes_zero:
        return "not established"
    return "worse" if difference.mean > 0.0 else "better"


Pair = tuple[str, Variant, Variant]
"""A label, a variant, and the variant to compare it with."""


def find(comparison: Comparison) -> tuple[Finding, ...]:
    """The differences in training and test error that answer the comparison's question."""
    deepest, _ = _depth_pairs(comparison)
    return differences(deepest if comparison.question == "depth" else _pairs(comparison))


def find_more(comparison: Comparison) -> tuple[Finding, ...]:
    """Further differences, which `find` leaves out.

    - In a comparison of depths: the pairs that do not include a deepest net.
    - In a comparison of "fields" without an axis: the pairs that do not include the baseline. With more than
      `MOST_ALL_PAIRS` variants, there are none.
    - In a comparison of "fields" with an axis: none.
    """
    if comparison.question == "depth":
        return differences(_depth_pairs(comparison)[1])
    if comparison.axis is not None or len(comparison.cells) > MOST_ALL_PAIRS:
        return ()
    pairs = itertools.combinations(comparison.cells[1:], 2)
    return differences((f"{right.label} {MINUS} {left.label}", right, left) for left, right in pairs)


def differences(pairs: Iterable[Pair]) -> tuple[Finding, ...]:
    """The differences in training and test error between pairs of variants."""
    return tuple(
        Finding(label, MEASURES[measure], paired_difference(left.by_seed(measure), right.by_seed(measure)))
        for label, left, right in pairs
        for measure in FINAL_MEASURES
    )


def _depth_pairs(comparison: Comparison) -> tuple[list[Pair], list[Pair]]:
    """Pairs to compare: a deeper net with a shallower one, and a residual net with its plain counterpart.

    The first list has the pairs with the deepest nets. The second list has the other pairs.
    """
    kinds: list[list[Pair]] = [
        [
            (f"{nets(net)}, {cell.depth} {MINUS} {base.depth} layers", cell, base)
            for cell in comparison.deeper_cells(net)
        ]
        for net in comparison.nets
        for base in (comparison.base_cell(net),)
    ]
    kinds.append([(f"{a.depth} layers, {b.net} {MINUS} {a.net}", b, a) for a, b in comparison.twins()])
    return [pairs[-1] for pairs in kinds if pairs], [pair for pairs in kinds for pair in pairs[:-1]]


def _pairs(comparison: Comparison) -> Iterator[Pair]:
    if comparison.axis is not None:
        field = comparison.axis.field
        for label, line in comparison.axis.lines:
            start, reference = f"{label}, " if label else "", comparison.axis.reference(line)
            for point in line:
                if point is not reference:
                    values = [fields.value_words(field, fields.values(v.config)[field]) for v in (point, reference)]
                    yield f"{start}{fields.word(field)} {values[0]} {MINUS} {values[1]}", point, reference
    else:
        base, *rest = comparison.cells
        for cell in rest:
            yield f"{cell.label} {MINUS} baseline", cell, base


def findings_table(found: Sequence[Finding], data: str) -> Table:
    """Makes a table with one row per finding; `data` is the name of the data set."""
    rows = tuple(
        (
            finding.label if i == 0 or found[i - 1].label != finding.label else "",
            finding.measure,
            NOTHING if finding.difference is None else str(finding.difference.n),
            difference_text(finding.difference),
            interval_cell(finding.difference),
            finding.verdict,
        )
        for i, finding in enumerate(found)
    )
    headers = ("difference", "error", "pairs", "points", "95 % interval", "finding")
    two = any(finding.difference is not None and finding.difference.n == 2 for finding in found)
    caption = (
        f"Differences on {data}, in percentage points, paired by seed; mean ± sample standard deviation"
        f"{', or both differences if there are two' * two}. Positive: the first has the higher error. Worse or better: "
        "the 95 % t-interval excludes zero."
    )
    return Table(caption, headers, rows, text_columns=2)


def headline(comparison: Comparison, found: Sequence[Finding]) -> str:
    """The answer to the comparison's question in one sentence. If runs diverged, a second one says how many."""
    diverged = sum(cell.diverged for cell in comparison.cells)
    runs = sum(len(cell.runs) for cell in comparison.cells)
    note = f" {diverged} of {runs} runs diverged; no mean includes {'it' if diverged == 1 else 'them'}."
    return _answer(comparison, found) + note * bool(diverged)


def _answer(comparison: Comparison, found: Sequence[Finding]) -> str:
    name = comparison.cells[0].runs[0].record.data.name
    if comparison.question == "depth":
        clauses = [_depth_clause(f) for f in found if f.measure == "training error" and "layers," not in f.label]
    elif comparison.axis is not None:
        clauses = [_axis_clause(comparison, label, line) for label, line in comparison.axis.lines]
    elif len(comparison.cells) == 1:
        return f"On {name}, {_alone(comparison.cells[0])}."
    else:
        others = {f"{cell.label} {MINUS} baseline": cell.label for cell in comparison.cells[1:]}
        clauses = list(_row_clauses([(others[f.label], f) for f in found if f.measure == "test error"]))
        return f"On {name}, beside the baseline's test error of {_error(comparison.baseline)}: {'; '.join(clauses)}."
    return f"On {name}, {'; '.join(clauses)}."


def _depth_clause(finding: Finding) -> str:
    who, _, layers = finding.label.partition(", ")
    deep, base = layers.removesuffix(" layers").split(f" {MINUS} ")
    apart = finding.difference
    if apart is None:
        return f"no seed of {who} finished at both {base} and {deep} layers"
    if finding.verdict == "equal":
        return f"{who} have the same training error at {base} and {deep} layers with every seed ({apart.n} pairs)"
    start = {
        "worse": f"{who} degrade from {base} to {deep} layers",
        "better": f"{who} gain from {base} to {deep} layers",
        "not established": f"for {who} no effect of depth is established from {base} to {deep} layers",
    }.get(finding.verdict, f"{who} from {base} to {deep} layers")
    return f"{start}: {points(apart, signed=True)} of training error {interval_words(apart)}"


def _row_clauses(found: Sequence[tuple[str, Finding]]) -> Iterator[str]:
    starts: dict[Verdict, str] = {
        "worse": "higher with",
        "better": "lower with",
        "equal": "the same for every seed with",
        "not established": "no difference established with",
        "too few seeds": "too few seeds for an interval with",
        "no pair": "no seed of the baseline finished with",
    }
    for kind, start in starts.items():
        told = [
            f"{label} ({points(finding.difference, signed=True)})" if finding.difference else label
            for label, finding in found
            if finding.verdict == kind
        ]
        if told:
            yield f"{start} {listed(told) if len(found) <= MOST_NAMED else plural(len(told), 'variant')}"
    apart_of = {label: finding.difference for label, finding in found if finding.difference is not None}
    if len(found) > MOST_NAMED and apart_of:
        for what, choose in (("lowest", min), ("highest", max)):
            label, apart = choose(apart_of.items(), key=lambda pair: pair[1].mean)
            yield f"{what} with {shortened(label)} ({points(apart, signed=True)})"


def _axis_clause(comparison: Comparison, label: str, line: Sequence[Variant]) -> str:
    assert comparison.axis is not None
    field = comparison.axis.field
    measured = [(summary.mean, v) for v in line if (summary := v.summary("test_error")) is not None]
    start = f"with {label}, " if label else ""
    if not measured:
        return f"{start}every run diverged"

    def place(variant: Variant) -> str:
        return fields.value_words(field, fields.values(variant.config)[field])

    best = min(measured, key=lambda pair: pair[0])[1]
    told = f"{start}test error is lowest at {fields.word(field)} {place(best)}, {_error(best)}"
    if len(comparison.axis.lines) > 1:
        return told  # with several lines the table of findings has the differences
    first, last = line[0], line[-1]
    apart = paired_difference(last.by_seed("test_error"), first.by_seed("test_error"))
    change = "" if apart is None else f"; from {place(first)} to {place(last)}: {points(apart, signed=True)}"
    change += "" if apart is None else f" {interval_words(apart)}"
    return f"{told}{change}"


def _alone(cell: Variant) -> str:
    who = f"{nets(cell.net).removesuffix('s')} of {cell.depth} layers"
    if cell.summary("test_error") is None:
        return f"every run of the {who} diverged"
    return f"one {who} and nothing to compare it with: test error {_error(cell)}"


def _error(cell: Variant) -> str:
    summary = cell.summary("test_error")
    return "every run diverged" if summary is None else f"{summary_text(summary)} %"
