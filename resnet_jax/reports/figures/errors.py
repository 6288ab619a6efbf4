"""Figures of errors after the last step: against depth, against a numeric field, or with a row for each variant."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from resnet_jax.reports import fields
from resnet_jax.reports.comparison import FINAL_MEASURES, MEASURES, Comparison, Measure, Variant
from resnet_jax.reports.figures.style import (
    BLUE,
    DASHED,
    GREY,
    INK,
    MARKERS,
    STYLE,
    VERMILION,
    from_zero,
    kind_colours,
    label_ends,
    sequence,
    spread,
    variant_colours,
)
from resnet_jax.reports.paper_table import PaperLines, ranks
from resnet_jax.reports.papers.published import FAILS
from resnet_jax.reports.stats import paired_difference
from resnet_jax.reports.text import nets, shortened

_LABELLED = 3
"""Largest number of lines with names at their ends. With more lines, the figure has a legend."""
Line = tuple[str, Sequence[tuple[float, Variant]], str, str]
"""Label of a line, x-position and variant of each point, colour, marker."""


def error_against_depth(comparison: Comparison) -> Figure:
    """Draws training and test error in per cent against depth: a line for each kind of net, and a point for each
    seed."""
    colours = kind_colours(comparison.nets)
    lines = [
        (
            nets(net),
            [(float(cell.depth), cell) for cell in comparison.of_net(net)],
            colours[net] if not comparison.of_net(net)[0].is_plain else VERMILION,
            MARKERS[number % len(MARKERS)],
        )
        for number, net in enumerate(comparison.nets)
    ]
    depths = sorted({cell.depth for cell in comparison.cells})
    return _error_lines(lines, "depth (layers)", [(float(depth), str(depth)) for depth in depths], logarithmic=False)


def error_against_field(comparison: Comparison) -> Figure:
    """Draws training and test error in per cent against the field of the comparison's axis."""
    axis = comparison.axis
    assert axis is not None
    if len(axis.lines) == 1:
        colours = [VERMILION if axis.lines[0][1][0].is_plain else BLUE]
    else:
        kinds = [points[0].net for _, points in axis.lines]
        distinct = len(set(kinds)) == len(kinds)
        colours = [kind_colours(kinds)[k] for k in kinds] if distinct else sequence(len(axis.lines))
    lines = [
        (label or "test", [(axis.value(v), v) for v in points], colour, MARKERS[number % len(MARKERS)])
        for number, ((label, points), colour) in enumerate(zip(axis.lines, colours, strict=True))
    ]
    found = {axis.value(v): fields.values(v.config)[axis.field] for _, points in axis.lines for v in points}
    ticks = [(x, fields.value_words(axis.field, found[x])) for x in sorted(found)]
    return _error_lines(lines, fields.word(axis.field), ticks, logarithmic=axis.logarithmic)


def _error_lines(lines: Sequence[Line], label: str, ticks: Sequence[tuple[float, str]], *, logarithmic: bool) -> Figure:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 3.2), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, measure in zip(panels, FINAL_MEASURES, strict=True):
            for number, line in enumerate(lines):
                side = 0.0 if len(lines) == 1 else -1.0 if number == 0 else 1.0
                _draw_line(axes, line, measure, side, logarithmic)
            axes.set_title(MEASURES[measure].capitalize(), loc="left")
            axes.set_xlabel(label)
            if logarithmic:
                axes.set_xscale("log")
                axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticks([x for x, _ in ticks], [text for _, text in ticks])
            if len(ticks) > 6 or sum(len(text) for _, text in ticks) > 30:
                axes.tick_params(axis="x", rotation=45)
            axes.margins(x=0.08)
        panels[0].set_ylabel("error (%)")
        from_zero(panels[0])
        named = [line for line in lines if line[0] != "test"]
        if 1 < len(named) <= _LABELLED:
            _name_ends(panels[1], named, logarithmic)
        elif len(named) > _LABELLED:
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
        return figure


def _name_ends(axes: Axes, lines: Sequence[Line], logarithmic: bool) -> None:
    low, high = axes.get_xlim()
    room = (high / low) ** 0.055 if logarithmic else 0.055 * (high - low)
    ends = []
    for label, points, colour, _ in lines:
        shown = [(x, s.mean) for x, v in points if (s := v.summary("test_error")) is not None]
        if shown:
            x, mean = shown[-1]
            ends.append((x * room if logarithmic else x + room, 100.0 * mean, label, colour))
    label_ends(axes, ends)


def _draw_line(axes: Axes, line: Line, measure: Measure, side: float, logarithmic: bool) -> None:
    label, points, colour, mark = line
    shown = [(x, v.by_seed(measure), s) for x, v in points if (s := v.summary(measure)) is not None]
    span = max(x for x, _ in points) - min(x for x, _ in points)

    def beside(x: float, shift: float) -> float:
        return x * (1.0 + 0.012 * shift) if logarithmic else x + 0.008 * shift * span

    # Shifts lines sideways, with single seeds outside, so that they do not cover each other.
    seeds = [
        (beside(x, 3.0 * side or 2.0), 100.0 * value)
        for x, by_seed, s in shown
        if s.n > 1
        for value in by_seed.values()
    ]
    xs, values = zip(*seeds, strict=True) if seeds else ((), ())
    small: dict[str, Any] = {"linestyle": "none", "markersize": 3.0, "markerfacecolor": "none", "markeredgewidth": 0.6}
    axes.plot(xs, values, marker=mark, markeredgecolor=colour, alpha=0.8, label="_seeds", **small)
    look: dict[str, Any] = {"color": colour, "marker": mark, "markersize": 4.5, "linewidth": 1.6, "label": label}
    places, means = [beside(x, side) for x, _, _ in shown], [100.0 * s.mean for _, _, s in shown]
    axes.errorbar(places, means, yerr=[spread(s) for _, _, s in shown], elinewidth=1.0, capsize=2.5, **look)
    for x, variant in points:
        if variant.diverged:
            s = variant.summary(measure)
            # Text above the points; if no run finished there are no points, and the text is at the top.
            top = 0.9 if s is None else 100.0 * max(*s.values, s.mean + (s.std or 0.0))
            where: dict[str, Any] = {"xycoords": "data" if s is not None else axes.get_xaxis_transform()}
            where |= {"xytext": (8, 6), "textcoords": "offset points", "ha": "right", "va": "bottom"}
            said = f"{variant.diverged} of {len(variant.runs)} diverged"
            axes.annotate(said, (beside(x, side), top), fontsize=7.5, color=colour, **where)


def error_by_row(comparison: Comparison) -> Figure:
    """Draws a row for each variant: errors in per cent, and differences from the baseline with confidence intervals."""
    cells = comparison.cells
    colours = variant_colours(cells)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 1.25 + 0.42 * len(cells)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.0, 1.0))
        for row, (cell, colour) in enumerate(zip(cells, colours, strict=True)):
            for measure, shift, look in _row_looks(colour):
                summary = cell.summary(measure)
                if summary is not None:
                    _bar(left, 100.0 * summary.mean, spread(summary), row + shift, look)
                    values = list(cell.by_seed(measure).values())
                    _seeds(left, [100.0 * value for value in values], row + shift, look, len(values))
                apart = paired_difference(cell.by_seed(measure), comparison.baseline.by_seed(measure))
                if row and apart is not None:
                    if apart.interval is not None:
                        half = 100.0 * (apart.interval.high - apart.mean)
                        _bar(right, 100.0 * apart.mean, half, row + shift, look)
                    _seeds(right, [100.0 * value for value in apart.values], row + shift, look, apart.n)
            if cell.diverged:
                _say_diverged(left, cell, row)
        right.axvline(0.0, color=GREY, linewidth=0.9, zorder=0.5)
        _name_rows(left, [cell.label for cell in cells])
        left.set_xlabel("error (%)")
        left.set_xlim(left=min(0.0, left.get_xlim()[0]))
        right.set_xlabel("difference from the baseline (points)")
        right.grid(visible=True, axis="x")
        right.grid(visible=False, axis="y")
        right.tick_params(axis="y", length=0.0)
        left.set_title("Error", loc="left")
        right.set_title("Variant minus baseline, paired by seed", loc="left")
        _row_legend(figure)
        return figure


def error_by_line(found: PaperLines) -> Figure:
    """Draws errors in per cent, with a row for each line of a paper's table and a panel for each depth."""
    with mpl.rc_context(STYLE):
        panels_of = found.by_depth
        most = max(len(lines) for lines in panels_of.values())
        figure = Figure(figsize=(3.4 + 3.2 * len(panels_of), 1.3 + 0.34 * most), layout="constrained")
        panels = figure.subplots(1, len(panels_of), sharex=True, squeeze=False)[0]
        for axes, (depth, lines) in zip(panels, panels_of.items(), strict=True):
            for row, line in enumerate(lines):
                for measure, shift, look in _row_looks(VERMILION if line.variant.is_plain else BLUE):
                    summary = line.variant.summary(measure)
                    if summary is not None:
                        _bar(axes, 100.0 * summary.mean, spread(summary), row + shift, look)
                if line.variant.diverged:
                    _say_diverged(axes, line.variant, row)
            axes.axvline(100.0 * FAILS, color=GREY, linewidth=0.9, linestyle=DASHED, zorder=0.5)
            names = zip(lines, ranks([line.papers_error for line in lines]), strict=True)
            _name_rows(axes, [f"{line.row.case} [{place}]" for line, place in names])
            axes.set_xlim(left=-1.0)
            axes.set_xlabel("error (%)")
            axes.set_title(f"{depth} layers", loc="left")
        _row_legend(figure)
        return figure


def _row_looks(colour: str) -> tuple[tuple[Measure, float, dict[str, Any]], ...]:
    return (
        ("train_error", -0.14, {"color": colour, "marker": "s", "markerfacecolor": "white", "linestyle": "none"}),
        ("test_error", 0.14, {"color": colour, "marker": "o", "linestyle": "none"}),
    )


def _bar(axes: Axes, value: float, half: float, row: float, look: dict[str, Any]) -> None:
    axes.errorbar([value], [row], xerr=[half], markersize=4.8, elinewidth=1.1, capsize=2.2, **look)


def _seeds(axes: Axes, values: Sequence[float], row: float, look: dict[str, Any], number: int) -> None:
    if number > 1:
        small = {**look, "marker": "|", "markersize": 6.0, "alpha": 0.55, "label": "_seeds"}
        axes.plot(values, [row] * len(values), **small)


def _say_diverged(axes: Axes, cell: Variant, row: int) -> None:
    axes.annotate(
        f"{cell.diverged} of {len(cell.runs)} diverged", (0.99, row), xycoords=axes.get_yaxis_transform(),
        ha="right", va="bottom", fontsize=7.5, color=GREY,
    )  # fmt: skip


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_wrapped(name) for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0.0)


def _wrapped(name: str, width: int = 34) -> str:
    name = shortened(name)
    parts = name.split("; ")
    if len(name) <= width or len(parts) == 1:
        return name
    middle = (len(parts) + 1) // 2
    return "; ".join(parts[:middle]) + ";\n" + "; ".join(parts[middle:])


def _row_legend(figure: Figure) -> None:
    handles = [
        mpl.lines.Line2D([], [], color=INK, marker="s", mfc="white", linestyle="none", label="training error"),
        mpl.lines.Line2D([], [], color=INK, marker="o", linestyle="none", label="test error"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=1.2)
