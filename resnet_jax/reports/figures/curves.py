"""Training curves in the style of He et al. 2015, Fig. 6.

The dashed line is the training error, measured in train mode during training. The solid line is the test error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resnet_jax.record import MetricsLine
from resnet_jax.reports import fields
from resnet_jax.reports.comparison import Comparison, Variant
from resnet_jax.reports.figures.style import (
    BLUE,
    DASHED,
    GREY,
    INK,
    LIGHT,
    STYLE,
    VERMILION,
    from_zero,
    kind_colours,
    legend_below,
    marker,
    sequence,
    shade,
    variant_colours,
)
from resnet_jax.reports.paper_table import PaperLines
from resnet_jax.reports.text import nets, shortened

MOST_PANELS = 6
"""Largest number of panels of full size; with more panels, all are small."""
_COLUMNS = 4


@dataclass(frozen=True)
class Curve:
    """The curves of one variant in a panel: their label, colour and marker."""

    variant: Variant
    label: str
    colour: str
    mark: str = "o"
    behind: bool = False
    """Whether the variant is only a reference, drawn thin and grey."""


Panels = dict[str, list[Curve]]


def curve_panels(comparison: Comparison, found: PaperLines | None = None) -> Panels:
    """The curves to draw, by the title of their panel.

    A comparison of depths has a panel for each kind of net, with a shade for each depth. A comparison with a paper's
    table has a panel for each line of the table. With a numeric axis, there is a panel for each line of the axis. Other
    comparisons have one panel, or a panel for each variant if there are many.
    """
    if found is not None:
        first = found.lines[0].variant
        return {
            f"{line.row.case}" + (f", {line.variant.depth} layers" if len(found.by_depth) > 1 else ""): _beside(
                line.variant, first, VERMILION if line.variant.is_plain else BLUE
            )
            for line in found.lines
        }
    if comparison.question == "depth":
        colours = kind_colours(comparison.nets)
        return {
            nets(net): [
                Curve(
                    c, f"{c.depth} layers", shade(VERMILION if c.is_plain else colours[net], c.depth), marker(c.depth)
                )
                for c in comparison.of_net(net)
            ]
            for net in comparison.nets
        }
    if comparison.axis is not None:
        field = comparison.axis.field
        values = sorted({comparison.axis.value(v) for _, points in comparison.axis.lines for v in points})
        scale = dict(zip(values, sequence(len(values)), strict=True))
        return {
            label: [
                Curve(
                    v,
                    f"{fields.word(field)}: {fields.value_words(field, fields.values(v.config)[field])}",
                    scale[comparison.axis.value(v)],
                    "os^DvPXp"[values.index(comparison.axis.value(v)) % 8],
                )
                for v in points
            ]
            for label, points in comparison.axis.lines
        }
    cells = comparison.cells
    if len(cells) <= MOST_PANELS:
        looks = zip(cells, variant_colours(cells), "os^DvP", strict=False)
        return {"": [Curve(c, c.label, colour, mark) for c, colour, mark in looks]}
    return {c.label: _beside(c, cells[0], colour) for c, colour in zip(cells, variant_colours(cells), strict=True)}


def _beside(variant: Variant, reference: Variant, colour: str) -> list[Curve]:
    curves = [Curve(variant, "this net", colour, marker(variant.depth))]
    return curves if variant is reference else [Curve(reference, "the first net", GREY, "", behind=True), *curves]


def training_curves(comparison: Comparison, found: PaperLines | None = None) -> Figure:
    """Draws errors in per cent against iterations: means over seeds, with bands from the lowest to the highest."""
    panels = curve_panels(comparison, found)
    many = len(panels) > MOST_PANELS
    columns = _COLUMNS if many else min(3, len(panels))
    rows = -(-len(panels) // columns)
    size = (9.0, 1.75 * rows + 0.7) if many else (3.7 * max(1.6, columns), 2.7 * rows + 0.8)
    with mpl.rc_context(STYLE | ({"font.size": 8.0} if many else {})):
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for empty in grid[len(panels) :]:
            empty.set_visible(False)
        for axes, (title, curves) in zip(grid, panels.items(), strict=False):
            for curve in curves:
                _draw(axes, curve)
            _rate_drops(axes, [curve.variant for curve in curves])
            axes.set_title(
                fill(shortened(title[:1].upper() + title[1:]), 36), loc="left", fontsize=8.0 if many else 10.0
            )
        for lowest in grid[max(0, len(panels) - columns) : len(panels)]:
            lowest.xaxis.set_tick_params(labelbottom=True)
            lowest.set_xlabel("iterations")
        for first in grid[: len(panels) : columns]:
            first.set_ylabel("error (%)")
        grid[0].set_xlim(0, max(curve.variant.iterations for curves in panels.values() for curve in curves))
        from_zero(grid[0], most=100.0)
        legend_below(figure, _handles(panels))
        return figure


def _handles(panels: Panels) -> list[Line2D]:
    curves = [curve for several in panels.values() for curve in several]
    handles: dict[str, Line2D] = {}
    colours: dict[str, set[str]] = {}
    for curve in curves:
        colours.setdefault(curve.label, set()).add(curve.colour)
    for curve in curves:
        if curve.label != "this net" and curve.label not in handles:
            # A depth has a different colour in each panel, but the same marker, so the legend shows the marker.
            colour = curve.colour if len(colours[curve.label]) == 1 else GREY
            label = f"the first net, {curve.variant.net}" if curve.behind else curve.label
            look: dict[str, Any] = {"color": colour, "marker": curve.mark, "linewidth": 1.0 if curve.behind else 1.7}
            handles[curve.label] = Line2D([], [], markersize=4.5, label=label, **look)
    kinds = [
        Line2D([], [], color=INK, linewidth=1.1, linestyle=DASHED, label="training (running)"),
        Line2D([], [], color=INK, linewidth=1.7, label=watched(curves[0].variant)),
    ]
    return [*handles.values(), *kinds]


def mean_curve(variant: Variant, name: str) -> tuple[list[int], list[list[float]]]:
    """The steps of a variant's curve, and the errors in per cent of each finished run at these steps, [runs][steps].

    Args:
      variant: the variant with the runs.
      name: a field of MetricsLine, such as "test_error".
    """
    lines = [_curve(run.metrics, name) for run in variant.finished]
    # All seeds of a configuration are measured at the same steps; a file that is cut short may lack some.
    steps = sorted(set.intersection(*(set(line) for line in lines))) if lines else []
    return steps, [[line[step] for step in steps] for line in lines]


def _draw(axes: Axes, curve: Curve) -> None:
    """Draws the training curve and the test curve of a variant. Diverged runs are dotted lines that end in a cross."""
    variant, colour = curve.variant, curve.colour
    kinds = (
        ("running_error", 0.8 if curve.behind else 1.1, DASHED, "training"),
        (f"{watched(variant)}_error", 0.9 if curve.behind else 1.7, "solid", watched(variant)),
    )
    for name, width, style, label in kinds:
        steps, runs = mean_curve(variant, name)
        if not steps:
            continue
        values = np.array(runs)
        mean = values.mean(0)
        named = f"{curve.label} {label}"
        axes.plot(steps, mean, color=LIGHT if curve.behind else colour, linewidth=width, linestyle=style, label=named)
        if curve.behind:
            continue
        look: dict[str, Any] = {"color": colour, "marker": curve.mark, "markersize": 4.0, "linestyle": "none"}
        # Markers along the test curve, at different positions for each depth, distinguish curves of similar shades.
        each = max(1, len(steps) // 4)
        marks = slice(each - 1 - (ord(curve.mark) % each), None, each) if style == "solid" else slice(-1, None)
        axes.plot(steps[marks], mean[marks], label="_marks", **look)
        axes.plot(steps[-1:], mean[-1:], clip_on=False, label="_end", **look)
        if len(runs) > 1:
            axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.10, linewidth=0.0)
    for run in variant.runs:
        if run.diverged and not curve.behind and (line := _curve(run.metrics, "running_error")):
            steps = sorted(line)
            axes.plot(steps, [line[s] for s in steps], color=colour, linewidth=1.0, linestyle=":", label="_diverged")
            axes.plot(steps[-1:], [line[steps[-1]]], color=colour, marker="x", linestyle="none", label="_diverged")


def watched(variant: Variant) -> str:
    """The split that was evaluated during training: "validation" if there is a validation set, else "test"."""
    return "validation" if variant.config.data.validation else "test"


def _curve(metrics: Sequence[MetricsLine], name: str) -> dict[int, float]:
    values = {line.step: getattr(line, name) for line in metrics}
    return {step: 100.0 * value for step, value in values.items() if value is not None}


def _rate_drops(axes: Axes, cells: Sequence[Variant]) -> None:
    common = set.intersection(*(set(cell.config.optim.milestones) for cell in cells))
    for step in sorted(step for step in common if step < min(cell.iterations for cell in cells)):
        axes.axvline(step, color=LIGHT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0.5)
