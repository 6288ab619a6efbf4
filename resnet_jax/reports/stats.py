"""The statistics of a report: means, sample standard deviations, and 95 % t-intervals, over seeds.

In reports, all values are errors, as fractions from 0 to 1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95

MIN_PAIRS = 3
"""Smallest number of pairs of runs, or of runs on each side, for an interval. With two pairs the t-interval has one
degree of freedom and is 12.7 standard errors wide on each side: it includes zero for nearly every effect."""


@dataclass(frozen=True)
class Interval:
    """The ends of a confidence interval."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True)
class Summary:
    """The values of one measure over seeds, with their statistics."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        assert self.values, "a summary of nothing"

    @property
    def n(self) -> int:
        """Number of values."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return float(np.mean(self.values))

    @property
    def std(self) -> float | None:
        """Sample standard deviation (divisor n - 1); None for a single value."""
        return float(np.std(self.values, ddof=1)) if self.n >= 2 else None


@dataclass(frozen=True)
class Difference:
    """The mean of a measure over some runs (left) minus its mean over other runs (right)."""

    mean: float
    std: float | None
    """Sample standard deviation of the paired differences; None with fewer than two pairs."""
    n: int
    """Number of pairs. For an unpaired difference: the number of values on the smaller side."""
    interval: Interval | None
    """95 % confidence interval; None if `n` is below `MIN_PAIRS`."""
    values: tuple[float, ...] = ()
    """Difference of each pair, ordered by seed; empty for an unpaired difference."""

    @property
    def paired(self) -> bool:
        """Whether the difference is the mean of differences between runs of the same seed."""
        return bool(self.values)

    @property
    def too_few_pairs(self) -> bool:
        """Whether there are too few pairs for an interval. Reports then show the difference of each pair."""
        return self.paired and self.n < MIN_PAIRS

    @property
    def on_both_sides(self) -> bool:
        """Whether some pairs have a positive difference and some a negative one."""
        return self.paired and min(self.values) < 0.0 < max(self.values)

    def negated(self) -> Difference:
        """The same difference with left and right exchanged."""
        interval = Interval(-self.interval.high, -self.interval.low) if self.interval else None
        values = tuple(-value for value in self.values)
        return dataclasses.replace(self, mean=-self.mean, interval=interval, values=values)


def paired_difference(left: Mapping[int, float], right: Mapping[int, float]) -> Difference | None:
    """The mean difference left - right over the seeds that both sides have; None if there is no such seed.

    The arguments are values by seed. With at least `MIN_PAIRS` pairs, the interval is Student's t-interval.
    """
    seeds = sorted(left.keys() & right.keys())
    if not seeds:
        return None
    pairs = Summary(tuple(left[seed] - right[seed] for seed in seeds))
    interval = None
    if pairs.std is not None and pairs.n >= MIN_PAIRS:
        interval = _t_interval(pairs.mean, pairs.std / math.sqrt(pairs.n), pairs.n - 1)
    return Difference(pairs.mean, pairs.std, pairs.n, interval, pairs.values)


def difference(left: Mapping[int, float], right: Mapping[int, float]) -> Difference | None:
    """The mean of `left` minus the mean of `right`; None if one of them is empty.

    The arguments are values by seed.

    - Paired: if `left` and `right` have the same seeds, or at least two seeds in common, the result is the
      `paired_difference`.
    - Unpaired: in all other cases, all values are used. If `left` and `right` have at least `MIN_PAIRS` values each,
      the interval is Welch's t-interval (unequal variances). With fewer values, there is no interval.
    """
    if not left or not right:
        return None
    if len(left.keys() & right.keys()) >= 2 or left.keys() == right.keys():
        return paired_difference(left, right)
    a, b = Summary(tuple(left.values())), Summary(tuple(right.values()))
    mean, interval = a.mean - b.mean, None
    if a.std is not None and b.std is not None and min(a.n, b.n) >= MIN_PAIRS:
        va, vb = a.std**2 / a.n, b.std**2 / b.n
        # Welch-Satterthwaite; if neither side has any spread, the interval has no width.
        freedom = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1)) if va + vb > 0.0 else 1.0
        interval = _t_interval(mean, math.sqrt(va + vb), freedom)
    return Difference(mean, None, min(a.n, b.n), interval)


def _t_interval(mean: float, standard_error: float, freedom: float) -> Interval:
    from scipy import stats as scipy_stats  # the import takes half a second: not before options are checked

    half = float(scipy_stats.t.ppf(0.5 + CONFIDENCE / 2.0, freedom)) * standard_error
    return Interval(mean - half, mean + half)
