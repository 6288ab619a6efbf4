"""Figures by what their axes hold, not by their pixels."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from PIL import Image

from resnet_jax.reports.control import find_control
from resnet_jax.reports.figures.budget import error_against_budget
from resnet_jax.reports.figures.curves import training_curves
from resnet_jax.reports.figures.errors import error_against_depth, error_against_field, error_by_row
from resnet_jax.reports.figures.instruments import looks
from resnet_jax.reports.figures.style import VERMILION, marker, save, shade
from resnet_jax.reports.paper_table import find_lines
from tests.reports.factory import only, write_run, write_study


def line(axes: Axes, label: str) -> Line2D:
    """The one line under a label; an error bar's line is in its container."""
    found = [drawn for drawn in axes.get_lines() if drawn.get_label() == label]
    found += [c.lines[0] for c in axes.containers if c.get_label() == label]  # type: ignore[attr-defined]
    (one,) = found
    return one


def data(drawn: Line2D) -> tuple[list[float], list[float]]:
    return np.asarray(drawn.get_xdata()).tolist(), np.asarray(drawn.get_ydata()).tolist()


def test_error_against_depth_draws_the_means_from_zero(tmp_path: Path) -> None:
    write_study(tmp_path)
    training, test = error_against_depth(only(tmp_path)).axes
    x, y = data(line(training, "plain nets"))
    assert y == pytest.approx([0.1 / 3, 0.2, 4.6 / 3, 57.0])
    assert x == pytest.approx([8, 20, 32, 56], abs=1.0)  # kinds of net stand side by side
    assert data(line(training, "residual nets"))[1] == pytest.approx([0.0, 0.0, 0.1 / 3, 0.5 / 3])
    assert data(line(test, "plain nets"))[1][-1] == pytest.approx(58.2)
    assert list(training.get_xticks()) == [8, 20, 32, 56]
    bottom, top = training.get_ylim()
    assert -3.0 < bottom <= 0.0
    assert top > 62.0
    seeds = [drawn for drawn in training.get_lines() if drawn.get_label() == "_seeds"]
    assert sorted(len(data(drawn)[0]) for drawn in seeds) == [12, 12]


def test_divergence_is_written_into_the_figure(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0, 0.1)
    write_run(tmp_path, "plain", 56, 0, None)
    axes = error_against_depth(only(tmp_path)).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1 of 1 diverged"]


def test_training_curves_are_dashed_for_training_and_solid_for_test(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0, 0.10, 0.2)
    write_run(tmp_path, "plain", 20, 1, 0.20, 0.2)
    write_run(tmp_path, "plain", 56, 0, 0.5, 0.5)
    write_run(tmp_path, "resnet", 20, 0, 0.0, 0.1)
    plain, residual = training_curves(only(tmp_path)).axes
    training, test = line(plain, "20 layers training"), line(plain, "20 layers test")
    assert training.get_linestyle() == "--"
    assert test.get_linestyle() == "-"
    assert test.get_linewidth() > training.get_linewidth()
    x, y = data(training)
    assert x == [24 * epoch for epoch in range(1, 11)]
    assert y[-1] == pytest.approx(100 * (0.101 + 0.201) / 2)
    assert plain.get_ylim() == residual.get_ylim()
    assert (plain.get_title(loc="left"), residual.get_title(loc="left")) == ("Plain nets", "Residual nets")
    drops = [drawn for drawn in plain.get_lines() if data(drawn)[1] == [0, 1]]
    assert [data(drop)[0][0] for drop in drops] == [120, 180]


def test_lines_of_a_table_have_a_panel_each_by_the_papers_names_and_in_its_order(tmp_path: Path) -> None:
    for run, shortcut in enumerate(("dropout", "none", "A")):
        write_run(tmp_path, depth=56, run=str(run), changes={"model.shortcut": shortcut})
    comparison = only(tmp_path)
    axes = training_curves(comparison, find_lines(comparison)).axes
    titles = [panel.get_title(loc="left") for panel in axes]
    assert titles == ["Original", "Constant scaling (0, 1)", "Dropout shortcut"]


def test_a_run_that_diverged_is_drawn_to_its_end_and_in_no_mean(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0, 0.10)
    write_run(tmp_path, "plain", 20, 1, None)
    write_run(tmp_path, "plain", 56, 0, 0.5)
    axes = training_curves(only(tmp_path)).axes[0]
    assert data(line(axes, "20 layers training"))[1][-1] == pytest.approx(10.1)
    curve, cross = [drawn for drawn in axes.get_lines() if drawn.get_label() == "_diverged"]
    assert data(curve)[0] == [24, 48, 72, 96]
    assert (cross.get_marker(), data(cross)[0]) == ("x", [96])


def test_one_seed_has_no_error_bar(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0, 0.1)
    for seed in (0, 1):
        write_run(tmp_path, "plain", 56, seed, 0.1 + 0.2 * seed)
    training = error_against_depth(only(tmp_path)).axes[0]
    (bars,) = (c for c in training.containers if c.get_label() == "plain nets")
    lengths = [float(np.ptp(segment[:, 1])) for segment in bars.lines[2][0].get_segments() if len(segment)]  # type: ignore[attr-defined]
    drawn = [length for length in lengths if not np.isnan(length)]
    assert drawn == [pytest.approx(2 * 100 * 0.2 / 2**0.5)]  # of 10 and 30 %: their deviation, on both sides of 20


def test_error_against_budget_has_a_mark_for_each_rate(tmp_path: Path) -> None:
    write_study(tmp_path)
    control = find_control(only(tmp_path))
    assert control is not None
    (axes,) = error_against_budget(control).axes
    assert data(line(axes, "plain-56, rate 0.1"))[1] == pytest.approx([57.0, 53 / 3])
    assert data(line(axes, "plain-56, rate 0.02"))[1] == pytest.approx([12.0])
    assert data(line(axes, "plain-20, rate 0.1"))[1] == pytest.approx([0.2])
    assert data(line(axes, "resnet-56, rate 0.1"))[1] == pytest.approx([0.5 / 3, 0.1 / 3])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["240 iterations\n(1×)", "1,200 iterations\n(5×)"]  # noqa: RUF001


def test_runs_without_metrics_still_make_figures(tmp_path: Path) -> None:
    (write_run(tmp_path, "plain", 20, 0, 0.1) / "metrics.jsonl").unlink()
    figure = training_curves(only(tmp_path))
    save(figure, tmp_path, "curves")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_saving_twice_gives_the_same_bytes_without_date_or_version(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "plain", 20, 0, 0.1)
    for name in ("a", "b"):
        save(training_curves(only(tmp_path / "runs")), tmp_path, name, {"Study": "digits-depth", "Commit": "abc1234"})
    for suffix in ("png", "svg"):
        one, other = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("a", "b"))
        assert one == other
        assert b"matplotlib v" not in one.lower()
    assert b"dc:date" not in (tmp_path / "a.svg").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert (image.info["Study"], image.info["Commit"]) == ("digits-depth", "abc1234")
    assert b"Study: digits-depth" in (tmp_path / "a.svg").read_bytes()


def test_a_width_sweep_is_drawn_against_the_width(tmp_path: Path) -> None:
    for width, error in ((8, 0.3), (16, 0.2), (32, 0.1), (64, 0.05)):
        for seed in (0, 1):
            write_run(tmp_path, "resnet", 20, seed, 0.0, error, run=f"{width}-{seed}", changes={"model.width": width})
    _, test = error_against_field(only(tmp_path)).axes
    assert data(line(test, "test"))[1] == pytest.approx([30.0, 20.0, 10.0, 5.0])
    assert test.get_xscale() == "log"
    assert test.get_xlabel() == "width"
    assert [label.get_text() for label in test.get_xticklabels()] == ["8", "16", "32", "64"]


def test_variants_are_rows_with_their_differences_from_the_baseline(tmp_path: Path) -> None:
    for seed, (one, other) in enumerate(((0.02, 0.04), (0.03, 0.06), (0.04, 0.05))):
        write_run(tmp_path, "resnet", 56, seed, 0.0, one, run=f"a{seed}")
        write_run(tmp_path, "resnet", 56, seed, 0.0, other, run=f"b{seed}", changes={"model.cut": ("stage2_block3",)})
    left, right = error_by_row(only(tmp_path)).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["baseline", "skips cut: stage2_block3"]
    bars = [c for c in right.containers if c.lines[0].get_marker() == "o"]  # type: ignore[attr-defined]
    # Differences of 2, 3 and 1 points: mean 2, standard error 1 / root 3, half an interval 4.3027 times that.
    (low, high) = bars[0].lines[2][0].get_segments()[0][:, 0]  # type: ignore[attr-defined]
    assert (low, high) == pytest.approx((2.0 - 2.4841, 2.0 + 2.4841), abs=1e-3)


def test_plain_nets_have_one_colour_and_one_shade_for_a_depth_in_every_figure() -> None:
    plain = {"name": "plain-56", "net": "plain", "depth": 56}
    alone, among = looks([plain])[0], looks([{**plain, "name": "resnet-8", "net": "resnet", "depth": 8}, plain])[1]
    assert alone == among
    assert alone["color"] == shade(VERMILION, 56)
    assert alone["marker"] == marker(56)
