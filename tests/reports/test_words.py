"""The answer in words claims what the numbers support."""

from __future__ import annotations

from pathlib import Path

from resnet_jax.reports.text import percent, seconds
from resnet_jax.reports.words import answer, headline
from tests.reports.factory import only, write_run, write_study


def test_degradation_is_claimed_where_the_interval_excludes_zero(tmp_path: Path) -> None:
    write_study(tmp_path)
    text = answer(only(tmp_path))
    assert text.startswith("On digits (1,437 training and 360 test images of 8×8×1, 10 classes), with 240 iterations")  # noqa: RUF001
    assert "is 0.20 ± 0.10 % (3 seeds) at 20 layers and 57.00 ± 5.00 % (3 seeds) at 56" in text
    assert "So added layers raise the training error of plain nets: degradation, not overfitting" in text
    assert "for residual nets the interval includes zero" in text


def test_one_seed_concludes_nothing(tmp_path: Path) -> None:
    for net, depth, train in (("plain", 20, 0.0), ("plain", 56, 0.6), ("resnet", 20, 0.0), ("resnet", 56, 0.0)):
        write_run(tmp_path, net, depth, 0, train)
    text = answer(only(tmp_path))
    assert "a difference of +60.00 points (one seed, no interval)" in text
    assert "degradation" not in text
    assert "fewer than 3 seeds finished at both depths, too few to conclude anything from" in text
    assert "established" not in text


def test_two_seeds_show_both_differences_and_conclude_nothing(tmp_path: Path) -> None:
    errors = {("plain", 20): (0.0, 0.0), ("plain", 56): (0.562, 0.796), ("resnet", 20): (0.01, 0.01)}
    for (net, depth), values in (errors | {("resnet", 56): (0.02, 0.005)}).items():
        for seed, train in enumerate(values):
            write_run(tmp_path, net, depth, seed, train, train)
    text = answer(only(tmp_path))
    assert "a difference of +56.20 and +79.60 points (both seeds; too few seeds for an interval)" in text
    assert "a difference of +1.00 and \N{MINUS SIGN}0.50 points (both seeds; too few seeds for an interval)" in text
    assert (
        "The training error of resnet-56 is 54.20 and 79.10 points below that of plain-56 (both seeds; too few seeds "
        "for an interval), its test error 54.20 and 79.10 points below." in text
    )
    assert "So for plain nets and residual nets fewer than 3 seeds finished at both depths" in text
    for claim in ("95 %", "established", "degradation", "includes zero"):
        assert claim not in text


def test_equal_errors_are_said_to_be_equal(tmp_path: Path) -> None:
    for net, depth, train in (("plain", 20, 0.0), ("plain", 56, 0.6), ("resnet", 20, 0.0), ("resnet", 56, 0.0)):
        for seed in range(3):
            write_run(tmp_path, net, depth, seed, train + 0.01 * seed * (train > 0.0))
    assert headline(only(tmp_path)).endswith(
        "; residual nets have the same training error at 20 and 56 layers with every seed (3 pairs)."
    )
    assert "the training error of residual nets is the same at both depths with every seed" in answer(only(tmp_path))


def test_the_headline_is_one_sentence_with_verdict_and_numbers(tmp_path: Path) -> None:
    write_study(tmp_path / "three")
    # Of plain nets 51.9, 61.7, 56.8 points: mean 56.8, std 4.9, half an interval 4.303 * 4.9 / root 3 = 12.17.
    # Of residual nets 0.1, 0.0, 0.4 points; mean 0.17, std 0.21, half an interval 4.303 * 0.21 / root 3.
    assert headline(only(tmp_path / "three")) == (
        "On digits, plain nets degrade from 20 to 56 layers: +56.80 points of training error (95 % interval +44.63 to "
        "+68.97, 3 pairs by seed); for residual nets no effect of depth is established from 20 to 56 layers: +0.17 "
        "points of training error (95 % interval \N{MINUS SIGN}0.35 to +0.68, 3 pairs by seed)."
    )
    for seed, error in enumerate((0.4, 0.6)):
        write_run(tmp_path / "two", "plain", 20, seed, 0.0)
        write_run(tmp_path / "two", "plain", 56, seed, error)
    assert headline(only(tmp_path / "two")) == (
        "On digits, plain nets from 20 to 56 layers: +40.00 and +60.00 points of training error (both seeds; too few "
        "seeds for an interval)."
    )
    write_run(tmp_path / "none", "plain", 20, 0, 0.0)
    write_run(tmp_path / "none", "plain", 56, 0, None)
    assert headline(only(tmp_path / "none")) == "On digits, no seed of plain nets finished at both 20 and 56 layers."
    write_run(tmp_path / "single", "plain", 20, 0, 0.0)
    assert "no two depths of one kind of net" in headline(only(tmp_path / "single"))


def test_two_seeds_on_both_sides_keep_their_signs(tmp_path: Path) -> None:
    for net, values in (("plain", (0.10, 0.12)), ("resnet", (0.11, 0.10))):
        for seed, train in enumerate(values):
            write_run(tmp_path, net, 20, seed, train, train)
    assert (
        "The training error of resnet-20 is +1.00 and \N{MINUS SIGN}2.00 points from that of plain-20 (both seeds; too "
        "few seeds for an interval), its test error +1.00 and \N{MINUS SIGN}2.00 points from it."
        in answer(only(tmp_path))
    )


def test_an_improvement_with_depth_is_not_called_degradation(tmp_path: Path) -> None:
    for depth, errors in ((20, (0.50, 0.51, 0.53)), (56, (0.10, 0.11, 0.12))):
        for seed, train in enumerate(errors):
            write_run(tmp_path, "plain", depth, seed, train)
    text = answer(only(tmp_path))
    assert "added layers lower the training error of plain nets" in text
    assert "degradation" not in text


def test_nets_that_all_diverged_are_said(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0, 0.0)
    write_run(tmp_path, "plain", 56, 0, None)
    assert "and diverged (1 of 1) at 56; no seed finished at both depths." in answer(only(tmp_path))


def test_a_single_depth_says_nothing_about_depth(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0, 0.02)
    write_run(tmp_path, "resnet", 20, 0, 0.01)
    text = answer(only(tmp_path))
    assert "with 240 iterations of 128 images: no two depths of one kind of net" in text
    assert "The training error of resnet-20 is 1.00 points below that of plain-20" in text


def test_numbers() -> None:
    assert [percent(x) for x in (0.12345, 0.0, -0.00001, -0.5)] == ["12.35", "0.00", "0.00", "−50.00"]  # noqa: RUF001
    assert percent(0.1, signed=True) == "+10.00"
    assert percent(0.00001, signed=True) == "0.00"
    assert [seconds(s) for s in (1.25, 59.9, 65, 3600, 9000)] == [
        "1.2 s",
        "59.9 s",
        "1 min 05 s",
        "1 h 00 min",
        "2 h 30 min",
    ]
