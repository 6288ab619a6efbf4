"""The figures, with matplotlib's object-oriented interface: nothing global is set, the same runs give the same bytes.

Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart; no figure relies on colour alone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resnet_jax.record import MetricsLine
from resnet_jax.reports.comparison import Comparison, Measure, Variant, test_error, train_error
from resnet_jax.reports.control import Control
from resnet_jax.reports.paper_table import PaperLines, ranks
from resnet_jax.reports.papers.published import FAILS
from resnet_jax.reports.stats import Summary
from resnet_jax.reports.text import TIMES, count, nets

DOTS_PER_INCH = 200

# Okabe and Ito's colours. Black is left to text, yellow out: it is too faint for lines on white.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
_RESIDUAL = (BLUE, GREEN, PURPLE, SKY, ORANGE)
_BY_ORDER = (SKY, GREEN, BLUE, VERMILION, PURPLE, ORANGE)
MARKERS = ("o", "s", "^", "D", "v", "P")
GREY = "#666666"
_PANELS = 4  # side by side

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same letters
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "resnet_jax",
    "svg.fonttype": "path",
}


def error_against_depth(comparison: Comparison) -> Figure:
    """Training and test error in per cent against depth, a line per kind of net, with std over seeds and every seed."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        depths = sorted({cell.depth for cell in comparison.cells})
        for axes, measure, name in zip(
            panels, (train_error, test_error), ("Training error", "Test error"), strict=True
        ):
            for number, net in enumerate(comparison.nets):
                _depth_line(axes, comparison.of_net(net), measure, net, *_net_look(comparison, number))
            axes.set_title(name, loc="left")
            axes.set_xlabel("depth (layers)")
            axes.set_xticks(depths)
            axes.margins(x=0.08)
        panels[0].set_ylabel("error (%)")
        _from_zero(panels[0])
        panels[0].legend(loc="best")
        return figure


def _depth_line(
    axes: Axes, cells: Sequence[Variant], measure: Measure, net: str, colour: str, marker: str, shift: float
) -> None:
    shown = [(cell.depth, cell.by_seed(measure), s) for cell in cells if (s := cell.summary(measure)) is not None]
    x = [depth for depth, _, _ in shown]
    mean = [100.0 * s.mean for _, _, s in shown]
    std = [_spread(s) for _, _, s in shown]
    points = [(depth, 100.0 * value) for depth, values, s in shown if s.n > 1 for value in values.values()]
    # Kinds of net stand side by side, single seeds outside, where they would cover each other on one spot.
    span = max(cell.depth for cell in cells) - min(cell.depth for cell in cells)
    nudge = 0.008 * shift * span
    axes.plot(
        [depth + 3.0 * nudge for depth, _ in points],
        [value for _, value in points],
        linestyle="none",
        marker=marker,
        markersize=3.0,
        markerfacecolor="none",
        markeredgecolor=colour,
        markeredgewidth=0.6,
        alpha=0.8,
        label="_seeds",
    )
    look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4.5, "linewidth": 1.6}
    axes.errorbar([depth + nudge for depth in x], mean, yerr=std, elinewidth=1.0, capsize=2.5, label=nets(net), **look)
    for cell in cells:
        if cell.diverged:
            s = cell.summary(measure)
            # Above what is drawn; where no run finished nothing is, and the words stand at the top.
            top = 0.9 if s is None else 100.0 * max(*s.values, s.mean + (s.std or 0.0))
            axes.annotate(
                f"{cell.diverged} of {len(cell.runs)} diverged",
                (cell.depth + nudge, top),
                xycoords="data" if s is not None else axes.get_xaxis_transform(),
                xytext=(8, 6),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=7.5,
                color=colour,
            )


def error_by_line(found: PaperLines) -> Figure:
    """Training and test error in per cent of each line of a paper's table, in its order; a panel for each depth."""
    with mpl.rc_context(STYLE):
        panels_of = found.by_depth
        most = max(len(lines) for lines in panels_of.values())
        figure = Figure(figsize=(3.0 + 3.4 * len(panels_of), 0.9 + 0.3 * most), layout="constrained")
        panels = figure.subplots(1, len(panels_of), sharex=True, squeeze=False)[0]
        for axes, (depth, lines) in zip(panels, panels_of.items(), strict=True):
            for measure, side, look in (
                (train_error, -0.13, {"color": VERMILION, "marker": "s", "mfc": "none", "label": "training error"}),
                (test_error, 0.13, {"color": BLUE, "marker": "o", "label": "test error"}),
            ):
                shown = [(i + side, s) for i, line in enumerate(lines) if (s := line.variant.summary(measure))]
                axes.errorbar(
                    [100.0 * s.mean for _, s in shown],
                    [place for place, _ in shown],
                    xerr=[_spread(s) for _, s in shown],
                    linestyle="none",
                    markersize=4.5,
                    elinewidth=1.0,
                    capsize=2.0,
                    **look,
                )
            axes.axvline(100.0 * FAILS, color=GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0.5)
            names = zip(lines, ranks([line.papers_error for line in lines]), strict=True)
            axes.set_yticks(range(len(lines)), [f"{line.row.case} [{place}]" for line, place in names])
            axes.set_ylim(len(lines) - 0.4, -0.6)
            axes.grid(visible=True, axis="x")
            axes.set_xlim(left=-1.0)
            axes.set_xlabel("error (%)")
            axes.set_title(f"{depth} layers", loc="left")
        panels[0].legend(loc="best")
        return figure


def training_curves(comparison: Comparison, found: PaperLines | None = None) -> Figure:
    """As in the paper's Fig. 6: running training error dashed, test error solid, in per cent against iterations;
    a colour per depth, means over seeds with the range from lowest to highest. A panel for each kind of net or, where
    the nets are lines of a paper's table, for each of those, in its order."""
    with mpl.rc_context(STYLE):
        kinds = _kinds(comparison) if found is None else _cases(found)
        rows = -(-len(kinds) // _PANELS)
        columns = -(-len(kinds) // rows)
        # 3.5 inches for a row and the legend below it.
        figure = Figure(figsize=(3.6 * max(2, columns), 2.7 * rows + 0.8), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for empty in panels[len(kinds) :]:
            empty.set_visible(False)
        for lowest in panels[max(0, len(kinds) - columns) : len(kinds)]:
            lowest.xaxis.set_tick_params(labelbottom=True)
            lowest.set_xlabel("iterations")
        depths = sorted({cell.depth for cell in comparison.cells})
        looks = {d: (_BY_ORDER[i % len(_BY_ORDER)], MARKERS[i % len(MARKERS)]) for i, d in enumerate(depths)}
        for axes, (title, cells) in zip(panels, kinds.items(), strict=False):
            for cell in cells:
                _curves(axes, cell, *looks[cell.depth])
            _rate_drops(axes, cells)
            axes.set_title(title[0].upper() + title[1:], loc="left", **({"fontsize": 8.0} if rows > 1 else {}))
        for first in panels[: len(kinds) : columns]:
            first.set_ylabel("error (%)")
        panels[0].set_xlim(0, max(cell.iterations for cell in comparison.cells))
        _from_zero(panels[0], most=100.0)
        handles = [
            Line2D([], [], color=looks[d][0], marker=looks[d][1], markersize=4.0, linewidth=1.7, label=f"{d} layers")
            for d in depths
        ]
        handles.append(Line2D([], [], color=GREY, linewidth=1.0, linestyle=(0, (4, 2)), label="training (running)"))
        handles.append(Line2D([], [], color=GREY, linewidth=1.7, label=_watched(comparison.cells[0])))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
        return figure


def _kinds(comparison: Comparison) -> dict[str, list[Variant]]:
    return {nets(net).replace("model.", ""): list(comparison.of_net(net)) for net in comparison.nets}


def _cases(found: PaperLines) -> dict[str, list[Variant]]:
    cases: dict[str, list[Variant]] = {}
    for line in found.lines:
        cases.setdefault(line.row.case, []).append(line.variant)
    return cases


def _curves(axes: Axes, cell: Variant, colour: str, marker: str) -> None:
    """Both curves of one net, its depth's marker at the end of each; runs that diverged are drawn one by one, dotted,
    and end in a cross."""
    watched = _watched(cell)
    kinds = (("running_error", 1.0, (0, (4, 2)), "training"), (f"{watched}_error", 1.7, "solid", watched))
    for name, width, style, label in kinds:
        lines = [_curve(run.metrics, name) for run in cell.finished]
        # Seeds of one configuration are measured at the same steps; a file cut short may lack some.
        steps = sorted(set.intersection(*(set(line) for line in lines))) if lines else []
        if steps:
            values = np.array([[line[step] for step in steps] for line in lines])
            mean = values.mean(0)
            axes.plot(steps, mean, color=colour, linewidth=width, linestyle=style, label=f"{cell.depth} {label}")
            axes.plot(
                steps[-1:],
                mean[-1:],
                color=colour,
                marker=marker,
                markersize=4.0,
                linestyle="none",
                clip_on=False,
                label="_end",
            )
            if len(lines) > 1:
                axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.10, linewidth=0.0)
    for run in cell.runs:
        if run.diverged and (line := _curve(run.metrics, "running_error")):
            steps = sorted(line)
            axes.plot(steps, [line[s] for s in steps], color=colour, linewidth=1.0, linestyle=":", label="_diverged")
            axes.plot(steps[-1:], [line[steps[-1]]], color=colour, marker="x", linestyle="none", label="_diverged")


def _watched(cell: Variant) -> str:
    """What was evaluated along the way: the validation set where there is one, and the test set elsewhere."""
    return "validation" if cell.config.data.validation else "test"


def _curve(metrics: Sequence[MetricsLine], name: str) -> dict[int, float]:
    """Step and error in per cent, where the error was measured."""
    values = {line.step: getattr(line, name) for line in metrics}
    return {step: 100.0 * value for step, value in values.items() if value is not None}


def _rate_drops(axes: Axes, cells: Sequence[Variant]) -> None:
    """A light line at each drop of the rate, where all nets of the panel share it."""
    common = set.intersection(*(set(cell.config.optim.milestones) for cell in cells))
    for step in sorted(step for step in common if step < min(cell.iterations for cell in cells)):
        axes.axvline(step, color="#bbbbbb", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0.5)


def error_against_budget(control: Control) -> Figure:
    """Training error in per cent against iterations: a colour for each net, a marker for each rate.

    A line joins what was trained at the base's rate, solid for the deep nets; the shallow and the residual nets first,
    so that the net in question lies on top.
    """
    drawn: list[tuple[Variant, Sequence[Variant], str, str]] = []
    for net, colour, style in (
        (control.shallow, ORANGE, "--"),
        (control.shallow_residual, SKY, "--"),
        (control.residual, BLUE, "-"),
    ):
        if net is not None:
            alike = [v for v in (net, *control.references) if (v.net, v.depth) == (net.net, net.depth)]
            drawn.append((net, alike, colour, style))
    drawn.append((control.base, control.points, VERMILION, "-"))
    rates = {v.schedule: -v.rate for _, variants, _, _ in drawn for v in variants if v.finished}
    others = sorted(rates.keys() - {control.base.schedule}, key=lambda schedule: (rates[schedule], schedule))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.subplots()
        budgets = sorted({v.iterations for _, variants, _, _ in drawn for v in variants})
        for number, (net, variants, colour, style) in enumerate(drawn):
            for place, schedule in enumerate([control.base.schedule, *others]):
                points = sorted((v for v in variants if v.schedule == schedule), key=lambda v: v.iterations)
                if points:
                    factor = _side(number - (len(drawn) - 1) / 2.0 + (len(drawn) * place))
                    label = f"{net.name}, rate {schedule}" if others else net.name
                    look = (colour, MARKERS[place % len(MARKERS)])
                    _budget_line(axes, points, factor, look, style if place == 0 else "none", label)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(budgets, [f"{count(b)}\n({b / control.base.iterations:.3g}{TIMES})" for b in budgets])
        axes.set_xlim(budgets[0] / 1.35, budgets[-1] * 1.5)
        axes.set_xlabel("iterations")
        axes.set_ylabel("training error (%)")
        _from_zero(axes)
        figure.legend(loc="outside right upper")
        return figure


def _spread(summary: Summary) -> float:
    """The error bar in per cent; one seed has none, and a bar of no length would say that it has no spread."""
    return math.nan if summary.std is None else 100.0 * summary.std


def _side(place: float) -> float:
    """What stands side by side at one budget is about one per cent apart, on an axis that is logarithmic."""
    return float(1.008**place)


def _budget_line(
    axes: Axes, points: Sequence[Variant], factor: float, look: tuple[str, str], style: str, label: str
) -> None:
    shown = [(p.iterations * factor, s) for p in points if (s := p.summary(train_error)) is not None]
    axes.errorbar(
        [x for x, _ in shown],
        [100.0 * s.mean for _, s in shown],
        yerr=[_spread(s) for _, s in shown],
        color=look[0],
        marker=look[1],
        markersize=5.5,
        linewidth=1.4,
        linestyle=style,
        capsize=3.0,
        label=label,
    )


def save(figure: Figure, folder: Path, stem: str) -> None:
    """Writes <stem>.png and <stem>.svg, without dates or versions, so that rebuilding gives the same bytes."""
    FigureCanvasAgg(figure)
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        buffer = io.BytesIO()
        with mpl.rc_context(STYLE):
            figure.savefig(buffer, format=suffix, dpi=DOTS_PER_INCH, metadata=metadata, facecolor="white")
        (folder / f"{stem}.{suffix}").write_bytes(buffer.getvalue())


def _net_look(comparison: Comparison, number: int) -> tuple[str, str, float]:
    """Colour, marker and the side on which single seeds stand: plain nets vermilion, residual nets blue and on."""
    plain = [any(c.is_plain for c in comparison.of_net(net)) for net in comparison.nets]
    marker = MARKERS[number % len(MARKERS)]
    if plain[number]:
        return (VERMILION, ORANGE)[sum(plain[:number]) % 2], marker, -1.0
    return _RESIDUAL[(number - sum(plain)) % len(_RESIDUAL)], marker, 1.0


def _from_zero(axes: Axes, most: float | None = None) -> None:
    """The axis starts at zero, a little below it so that a marker at zero stays whole."""
    top = max(axes.dataLim.y1, *(other.dataLim.y1 for other in axes.figure.axes))
    top = max(1.0, 1.08 * top)
    top = min(top, most * 1.02) if most is not None else top
    axes.set_ylim(-0.02 * top, top)
