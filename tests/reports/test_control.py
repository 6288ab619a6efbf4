"""The control's conclusion follows from the numbers: each conclusion from numbers made for it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from resnet_jax.reports.control import (
    Conclusion,
    Control,
    control_findings,
    control_sentence,
    control_table,
    find_control,
    gap_table,
)
from tests.reports.factory import only, write_run, write_study

Errors = Sequence[float | None]


def control(
    root: Path,
    *,
    shallow: Errors = (0.001, 0.002, 0.003),
    deep: Errors = (0.52, 0.62, 0.57),
    longer: dict[float, Errors] | None = None,
    iterations: int = 1200,
    residual: Errors = (0.0, 0.0, 0.001),
) -> Control:
    """plain-20, plain-56 and resnet-56 in the base budget, plain-56 with `iterations` at each rate of `longer`."""
    for net, depth, errors in (("plain", 20, shallow), ("plain", 56, deep), ("resnet", 56, residual)):
        for seed, error in enumerate(errors):
            write_run(root, net, depth, seed, error)
    for rate, errors in (longer or {0.1: (0.17, 0.2, 0.16)}).items():
        for seed, error in enumerate(errors):
            write_run(root, "plain", 56, seed, error, iterations=iterations, rate=rate, study="digits-depth-long")
    found = find_control(only(root))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("deep", "longer", "conclusion", "words"),
    [
        # Left 11.8 points, t-interval 6.7 to 16.9; gone 45 points, 29.5 to 60.5.
        (
            (0.52, 0.62, 0.57),
            (0.12, 0.10, 0.14),
            "partly closed",
            "Part of the gap was slow optimisation: 45.00 points of 56.80 points disappeared",
        ),
        ((0.52, 0.62, 0.57), (0.004, 0.003, 0.002), "closed", "More training closes the gap to within one point"),
        ((0.52, 0.62, 0.57), (0.55, 0.57, 0.58), "not reduced", "More training does not measurably reduce the gap"),
        ((0.52, 0.62, 0.57), (0.72, 0.83, 0.77), "larger", "More training made the gap larger"),
        ((0.52, 0.62, 0.57), (0.01, 0.30, 0.02), "undecided", "Undecided: the remaining gap may be zero"),
        ((0.001, 0.004, 0.001), (0.0, 0.0, 0.001), "no gap", "No gap is established"),
        # The gap is 0.5 to 0.6 points from the start; the decrease is -0.16 to +0.04 points.
        (
            (0.0065, 0.0075, 0.0085),
            (0.0067, 0.0083, 0.0088),
            "within a point",
            "but it is not established that more training made the gap smaller",
        ),
    ],
)
def test_each_conclusion(tmp_path: Path, deep: Errors, longer: Errors, conclusion: Conclusion, words: str) -> None:
    found = control(tmp_path, deep=deep, longer={0.1: longer})
    assert found.conclusion == conclusion
    assert words in control_sentence(found)


def test_the_best_rate_is_that_of_the_lowest_mean_and_the_words_say_whom_it_favours(tmp_path: Path) -> None:
    found = control(tmp_path, longer={0.1: (0.2, 0.2, 0.2), 0.05: (0.0, 0.4, 0.4), 0.02: (0.1, 0.2, 0.1)})
    assert found.best is not None
    assert found.best.rate == 0.02
    assert "best of 3 rates" in control_findings(found).caption


def test_a_deeper_net_that_is_better_has_no_gap(tmp_path: Path) -> None:
    found = control(tmp_path, shallow=(0.3, 0.31, 0.29), deep=(0.1, 0.11, 0.1), longer={0.1: (0.05, 0.05, 0.06)})
    assert found.conclusion == "deeper is better"
    assert "No gap: the deeper plain net has the lower training error (95 % interval" in control_sentence(found)


def test_one_run_that_survived_does_not_choose_the_rate(tmp_path: Path) -> None:
    found = control(tmp_path, longer={0.1: (0.05, None, None), 0.05: (0.3, 0.32, 0.31)})
    assert found.best is not None
    assert found.best.rate == 0.05
    assert found.conclusion == "partly closed"
    assert "A rate with which fewer than 3 runs finished is left out." in control_findings(found).caption


def test_the_largest_budget_decides(tmp_path: Path) -> None:
    for seed, error in enumerate((0.0, 0.0, 0.0)):
        write_run(tmp_path, "plain", 56, seed, error, iterations=480, rate=0.05)
    found = control(tmp_path, longer={0.1: (0.12, 0.10, 0.14)})
    assert found.best is not None
    assert found.best.iterations == 1200
    assert len(found.points) == 3


@pytest.mark.parametrize(
    ("seeds", "numbers"),
    [
        (1, ("+49.90", "+9.90")),
        (2, ("+49.90 and +61.80", "+9.90 and +19.80")),
    ],
)
def test_fewer_than_three_seeds_conclude_nothing(tmp_path: Path, seeds: int, numbers: tuple[str, str]) -> None:
    found = control(
        tmp_path,
        shallow=(0.001, 0.002)[:seeds],
        deep=(0.5, 0.62)[:seeds],
        longer={0.1: (0.1, 0.2)[:seeds]},
        residual=(0.0, 0.0)[:seeds],
    )
    assert found.conclusion == "too few seeds"
    assert [row[2] for row in control_findings(found).rows if row[0] in ("gap", "remaining gap")] == list(numbers)
    assert "too few" in control_sentence(found)
    for claim in ("95 %", "establish"):
        assert claim not in control_sentence(found)


def test_seeds_that_do_not_pair_are_compared_by_their_means(tmp_path: Path) -> None:
    for seed, error in ((5, 0.12), (6, 0.10), (7, 0.14)):
        write_run(tmp_path, "plain", 56, seed, error, iterations=1200)
    for depth, errors in ((20, (0.001, 0.002, 0.003)), (56, (0.52, 0.62, 0.57))):
        for seed, error in enumerate(errors):
            write_run(tmp_path, "plain", depth, seed, error)
    found = find_control(only(tmp_path))
    assert found is not None
    assert found.left is not None
    assert not found.left.paired
    assert found.conclusion == "partly closed"
    assert "unpaired, Welch" in control_sentence(found)


def test_runs_that_diverged_are_said_and_may_leave_no_answer(tmp_path: Path) -> None:
    found = control(tmp_path / "a", longer={0.1: (None, 0.2, 0.16), 0.02: (0.3, 0.3, 0.3)})
    assert ["diverged (1 of 3)" in row[5] for row in control_table(found).rows][:2] == [False, True]
    none = control(tmp_path / "b", longer={0.1: (None, None, None)})
    assert none.conclusion == "no comparison"
    assert "do not answer" in control_sentence(none)


def test_another_rate_in_the_same_budget_is_not_called_more_training(tmp_path: Path) -> None:
    found = control(tmp_path, longer={0.02: (0.12, 0.10, 0.14)}, iterations=240)
    assert "Part of the gap was the choice of rate" in control_sentence(found)
    assert "training" not in control_sentence(found)


def test_no_control_without_another_budget_or_rate(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20)
    write_run(tmp_path, "plain", 56)
    write_run(tmp_path, "plain", 20, iterations=1200)  # not the deepest
    assert find_control(only(tmp_path)) is None


def test_control_table_lists_budget_and_rate(tmp_path: Path) -> None:
    write_study(tmp_path)
    found = find_control(only(tmp_path))
    assert found is not None
    rows = [row[:4] for row in control_table(found).rows]
    assert rows == [
        ("plain", "56", "240 (1×)", "0.1"),  # noqa: RUF001
        ("plain", "56", "1,200 (5×)", "0.1"),  # noqa: RUF001
        ("plain", "56", "1,200 (5×)", "0.05"),  # noqa: RUF001
        ("plain", "56", "1,200 (5×)", "0.02"),  # noqa: RUF001
        ("plain", "20", "240 (1×)", "0.1"),  # noqa: RUF001
        ("resnet", "20", "240 (1×)", "0.1"),  # noqa: RUF001
        ("resnet", "56", "240 (1×)", "0.1"),  # noqa: RUF001
        ("resnet", "56", "1,200 (5×)", "0.1"),  # noqa: RUF001
    ]


def test_budgets_below_that_of_the_main_comparison(tmp_path: Path) -> None:
    """The smallest is where the gap is taken from; the main comparison, with more depths, may be the largest."""
    errors = {("plain", 20): 0.2, ("plain", 32): 0.3, ("plain", 56): 0.7, ("resnet", 20): 0.1, ("resnet", 56): 0.12}
    for (net, depth), error in errors.items():
        for seed in (0, 1):
            write_run(tmp_path, net, depth, seed, error + 0.01 * seed, iterations=3200)
            if depth != 32:
                write_run(tmp_path, net, depth, seed, error + 0.1 + 0.02 * seed, iterations=800)
    found = find_control(only(tmp_path))
    assert found is not None
    assert found.shallow is not None
    assert found.residual is not None
    assert found.shallow_residual is not None
    four = (found.base, found.shallow, found.residual, found.shallow_residual)
    assert [(v.name, v.iterations) for v in four] == [
        ("plain-56", 800),
        ("plain-20", 800),
        ("resnet-56", 800),
        ("resnet-20", 800),
    ]
    assert found.best is not None
    assert found.best.iterations == 3200
    table = gap_table(found)
    assert table is not None
    assert list(table.rows) == [
        ("800 (1×)", "+50.00 and +50.00", "too few seeds", "+2.00 and +2.00", "too few seeds"),  # noqa: RUF001
        ("3,200 (4×)", "+50.00 and +50.00", "too few seeds", "+2.00 and +2.00", "too few seeds"),  # noqa: RUF001
    ]
    assert not any("32" in row[1] for row in control_table(found).rows)


def test_no_table_of_gaps_by_budget_where_there_is_one_budget(tmp_path: Path) -> None:
    assert gap_table(control(tmp_path, longer={0.02: (0.12, 0.10, 0.14)}, iterations=240)) is None
