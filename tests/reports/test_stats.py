"""Statistics against numbers worked out by hand."""

import pytest

from resnet_jax.reports.stats import Interval, Summary, difference, paired_difference


def test_mean_and_sample_standard_deviation() -> None:
    # Deviations -2, 0, 2: 8 over n - 1 = 2 is 4, its root 2.
    summary = Summary((0.50, 0.52, 0.54))
    assert summary.mean == pytest.approx(0.52)
    assert summary.std == pytest.approx(0.02)
    assert summary.n == 3


def test_one_value_has_no_spread() -> None:
    assert Summary((0.5,)).std is None


def test_paired_difference_pairs_by_seed_and_leaves_the_rest_out() -> None:
    # Pairs 1, 2, 3 with mean 2 and std 1; t(0.975, 2) = 4.302653 (any table of Student's t), over the root of 3.
    left, right = {0: 2.0, 1: 4.0, 2: 6.0, 9: 100.0}, {2: 3.0, 1: 2.0, 0: 1.0, 7: -5.0}
    found = paired_difference(left, right)
    assert found is not None
    assert found.interval is not None
    assert (found.mean, found.std, found.n, found.paired) == (pytest.approx(2.0), pytest.approx(1.0), 3, True)
    half = 4.302653 / 3**0.5
    assert (found.interval.low, found.interval.high) == (pytest.approx(2 - half, rel=1e-6), pytest.approx(2 + half))


def test_fewer_than_three_pairs_have_no_interval_and_none_no_difference() -> None:
    one = paired_difference({0: 3.0}, {0: 1.0})
    assert one is not None
    assert (one.mean, one.std, one.interval, one.values) == (2.0, None, None, (2.0,))
    two = paired_difference({1: 9.0, 0: 3.0}, {0: 1.0, 1: 5.0})
    assert two is not None
    assert (two.mean, two.n, two.interval, two.values) == (3.0, 2, None, (2.0, 4.0))
    assert two.too_few_pairs
    three = paired_difference({0: 3.0, 1: 9.0, 2: 4.0}, dict.fromkeys((0, 1, 2), 1.0))
    assert three is not None
    assert three.interval is not None
    assert not three.too_few_pairs
    assert paired_difference({0: 3.0}, {1: 1.0}) is None


def test_unpaired_difference_is_welchs() -> None:
    # Variances 1 and 4, three values each: standard error root of 5/3, freedom (5/3)^2 / ((1/9 + 16/9) / 2) = 50/17.
    found = difference({0: 9.0, 1: 10.0, 2: 11.0}, {3: 4.0, 4: 6.0, 5: 8.0})
    assert found is not None
    assert found.interval is not None
    assert not found.paired
    assert found.mean == pytest.approx(4.0)
    # t(0.975, 2.941176) by numerical inversion of the incomplete beta function, not by scipy.stats.t.
    from scipy.special import betaincinv  # type: ignore[import-untyped]

    freedom = 50.0 / 17.0
    x = betaincinv(freedom / 2.0, 0.5, 0.05)
    t = (freedom * (1.0 - x) / x) ** 0.5
    assert found.interval.high - found.mean == pytest.approx(t * (5.0 / 3.0) ** 0.5)
    two = difference({0: 9.0, 1: 11.0}, {2: 4.0, 3: 5.0, 4: 6.0})
    assert two is not None
    assert (two.mean, two.n, two.interval) == (5.0, 2, None)


def test_difference_prefers_pairs() -> None:
    found = difference({0: 1.0, 1: 2.0, 2: 9.0}, {0: 0.0, 1: 1.0})
    assert found is not None
    assert found.paired
    assert found.mean == pytest.approx(1.0)
    assert difference({}, {0: 1.0}) is None


@pytest.mark.parametrize(
    ("low", "high", "excludes"), [(0.1, 1, True), (-1, -0.1, True), (-1, 1, False), (0.0, 1, False)]
)
def test_interval_excludes_zero(low: float, high: float, excludes: bool) -> None:
    assert Interval(low, high).excludes_zero is excludes


def test_negated_swaps_the_ends() -> None:
    found = paired_difference({0: 1.0, 1: 2.0, 2: 4.0}, {0: 3.0, 1: 5.0, 2: 9.0})
    assert found is not None
    turned = found.negated()
    assert found.interval is not None
    assert turned.interval is not None
    assert (turned.mean, turned.interval.low) == (-found.mean, -found.interval.high)
    assert turned.values == (2.0, 3.0, 5.0)
