"""The control's words follow from the numbers: each conclusion from numbers made for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from resnet_jax.reports.control import Conclusion, Control, control_table, find_control, gap_table
from resnet_jax.reports.control_words import control_words
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
            "part of the gap was slow optimisation, 45.00 points",
        ),
        ((0.52, 0.62, 0.57), (0.004, 0.003, 0.002), "closed", "more training closes the gap to within one point"),
        ((0.52, 0.62, 0.57), (0.55, 0.57, 0.58), "not reduced", "more training does not measurably reduce the gap"),
        ((0.52, 0.62, 0.57), (0.72, 0.83, 0.77), "larger", "more training made the gap larger, by 20.33 points"),
        ((0.52, 0.62, 0.57), (0.01, 0.30, 0.02), "undecided", "Conclusion: undecided. What is left, +10.80 points"),
        ((0.001, 0.004, 0.001), (0.0, 0.0, 0.001), "no gap", "These runs establish no gap to begin with"),
    ],
)
def test_each_conclusion(tmp_path: Path, deep: Errors, longer: Errors, conclusion: Conclusion, words: str) -> None:
    found = control(tmp_path, deep=deep, longer={0.1: longer})
    assert found.conclusion == conclusion
    assert words in " ".join(control_words(found))


def test_what_is_left_is_told_with_its_interval_and_share(tmp_path: Path) -> None:
    gap, left, residual, conclusion, paper = control_words(control(tmp_path, longer={0.1: (0.12, 0.10, 0.14)}))
    # Differences by seed: 51.9, 61.8, 56.7, mean 56.8, std 4.95; t(0.975, 2) = 4.303: half 12.3.
    assert gap == (
        "With 240 iterations at rate 0.1, the training error of plain-56 is 57.00 ± 5.00 % (3 seeds) and that of "
        "plain-20 0.20 ± 0.10 % (3 seeds): a gap of 56.80 points (95 % interval +44.50 to +69.10, 3 pairs by seed)."
    )
    # 11.9, 9.8, 13.7: mean 11.8, std 1.95, half 4.85; 11.8 of 56.8 is 21 %.
    assert left == (
        "With 5 times the iterations (1,200) at rate 0.1, the only one tried, plain-56 reaches 12.00 ± 2.00 % "
        "(3 seeds): 11.80 points (95 % interval +6.95 to +16.65, 3 pairs by seed) above plain-20 with 240 iterations "
        "at rate 0.1, 21 % of the gap."
    )
    assert residual.startswith("It is 11.97 points")
    assert "above the equally deep resnet-56 with 240 iterations at rate 0.1" in residual
    assert "11.80 points remain (95 % interval +6.95 to +16.65" in conclusion
    assert "He et al. 2015, Sec. 4.1" in paper


def test_the_best_rate_is_that_of_the_lowest_mean_and_the_words_say_whom_it_favours(tmp_path: Path) -> None:
    found = control(tmp_path, longer={0.1: (0.2, 0.2, 0.2), 0.05: (0.0, 0.4, 0.4), 0.02: (0.1, 0.2, 0.1)})
    assert found.best is not None
    assert found.best.rate == 0.02
    assert (
        "the best of 3 rates (0.02, chosen on mean training error, which favours the plain net)"
        in control_words(found)[1]
    )


def test_the_largest_budget_decides(tmp_path: Path) -> None:
    for seed, error in enumerate((0.0, 0.0, 0.0)):
        write_run(tmp_path, "plain", 56, seed, error, iterations=480, rate=0.05)
    found = control(tmp_path, longer={0.1: (0.12, 0.10, 0.14)})
    assert found.best is not None
    assert found.best.iterations == 1200
    assert len(found.points) == 3


def test_nets_with_the_same_budget_are_compared_too(tmp_path: Path) -> None:
    for net, depth, errors in (("plain", 20, (0.0, 0.0, 0.0)), ("resnet", 56, (0.0, 0.0, 0.0))):
        for seed, error in enumerate(errors):
            write_run(tmp_path, net, depth, seed, error, iterations=1200)
    words = control_words(control(tmp_path, longer={0.1: (0.12, 0.10, 0.14)}))
    assert "above plain-20 with 1,200 iterations at rate 0.1 as well, which has 0.00 ± 0.00 % (3 seeds)." in words[1]
    assert words[2].count("resnet-56 with") == 2


@pytest.mark.parametrize(
    ("seeds", "numbers"),
    [
        (1, "a gap of 49.90 points, and 9.90 points left"),
        (2, "a gap of 49.90 and 61.80 points, and 9.90 and 19.80 points left"),
    ],
)
def test_fewer_than_three_seeds_conclude_nothing(tmp_path: Path, seeds: int, numbers: str) -> None:
    found = control(
        tmp_path,
        shallow=(0.001, 0.002)[:seeds],
        deep=(0.5, 0.62)[:seeds],
        longer={0.1: (0.1, 0.2)[:seeds]},
        residual=(0.0, 0.0)[:seeds],
    )
    assert found.conclusion == "too few seeds"
    words = " ".join(control_words(found))
    assert f"{numbers}. They are of fewer than 3 seeds, too few to conclude anything from." in words
    for claim in ("Conclusion", "95 %", "establish"):
        assert claim not in words


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
    assert "unpaired, Welch" in " ".join(control_words(found))


def test_runs_that_diverged_are_said_and_may_leave_no_answer(tmp_path: Path) -> None:
    found = control(tmp_path / "a", longer={0.1: (None, 0.2, 0.16), 0.02: (0.3, 0.3, 0.3)})
    assert "plain-56 at rate 0.1, 1,200 iterations: diverged (1 of 3)" in " ".join(control_words(found))
    none = control(tmp_path / "b", longer={0.1: (None, None, None)})
    assert none.conclusion == "no comparison"
    words = " ".join(control_words(none))
    assert "every run of plain-56 diverged" in words
    assert "do not answer" in words


def test_without_a_shallower_plain_net_there_is_no_gap_to_measure(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 56, 0, 0.5)
    write_run(tmp_path, "plain", 56, 0, 0.1, iterations=1200)
    found = find_control(only(tmp_path))
    assert found is not None
    assert "no shallower plain net" in control_words(found)[0]


def test_another_rate_in_the_same_budget_is_not_called_more_training(tmp_path: Path) -> None:
    found = control(tmp_path, longer={0.02: (0.12, 0.10, 0.14)}, iterations=240)
    words = " ".join(control_words(found))
    assert "With the same 240 iterations at the best of 2 rates (0.02" in words
    assert "part of the gap was the choice of rate" in words
    assert "more training" not in words


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
    text = control_words(found)[1]
    assert "With 4 times the iterations (3,200) at rate 0.1, the only one tried, plain-56 reaches 70.50" in text
    assert "That is 50.00 and 50.00 points (both seeds; too few seeds for an interval)" in text
    assert "above plain-20 with 3,200 iterations at rate 0.1 as well, which has 20.50" in text
    table = gap_table(found)
    assert table is not None
    assert list(table.rows) == [
        ("800 (1×)", "+50.00 and +50.00", "too few seeds", "+2.00 and +2.00", "too few seeds"),  # noqa: RUF001
        ("3,200 (4×)", "+50.00 and +50.00", "too few seeds", "+2.00 and +2.00", "too few seeds"),  # noqa: RUF001
    ]
    assert not any("32" in row[1] for row in control_table(found).rows)


def test_no_table_of_gaps_by_budget_where_there_is_one_budget(tmp_path: Path) -> None:
    assert gap_table(control(tmp_path, longer={0.02: (0.12, 0.10, 0.14)}, iterations=240)) is None


def test_a_warm_up_is_another_schedule_and_not_another_net(tmp_path: Path) -> None:
    for seed, error in enumerate((0.3, 0.31, 0.32)):
        changes = {"optim.warmup": "error"}
        write_run(tmp_path, "plain", 56, seed, error, iterations=600, changes=changes, run=f"warm-seed{seed}")
        write_run(tmp_path, "plain", 56, seed, error + 0.1, iterations=600, rate=0.05)
        write_run(tmp_path, "plain", 56, seed, error + 0.2, iterations=600)
        write_run(tmp_path, "resnet", 56, seed, error - 0.2, iterations=600)
        write_run(tmp_path, "resnet", 56, seed, error - 0.1, iterations=600, changes=changes, run=f"twin-seed{seed}")
    found = control(tmp_path)
    assert [(p.name, p.iterations, p.schedule) for p in found.points if p.iterations == 600] == [
        ("plain-56", 600, "0.1"),
        ("plain-56", 600, "0.1 with warm-up"),
        ("plain-56", 600, "0.05"),
    ]
    (words,) = [text for text in control_words(found) if "the best of" in text and "600 iterations" in text]
    assert words == (
        "With 600 iterations the best of 3 rates is 0.1 with warm-up, where the training error of plain-56 is "
        "31.00 ± 1.00 % (3 seeds); it is 41.00 ± 1.00 % (3 seeds) at 0.05 and 51.00 ± 1.00 % (3 seeds) at 0.1. "
        "With 600 iterations the best of 2 rates is 0.1, where the training error of resnet-56 is 11.00 ± 1.00 % (3 "
        "seeds); it is 21.00 ± 1.00 % (3 seeds) at 0.1 with warm-up."
    )
