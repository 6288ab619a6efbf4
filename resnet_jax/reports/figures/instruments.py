"""The figures of the instruments, except loss-landscape (landscape.py) and path-lengths (paths.py)."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from resnet_jax.reports.figures.style import (
    DASHES,
    GREEN,
    GREY,
    INK,
    MARKERS,
    OTHERS,
    PURPLE,
    STYLE,
    kind_colours,
    legend_below,
    marker,
    shade,
)

Measured = dict[str, Any]
_SEED = re.compile(r"-?seed\d+$")
_BAND = 0.15
_MARKER, _APART = 4.0, 0.07  # size in points; distance along the line, as a share of the panel's diagonal
_WIDE = 5.0  # from this ratio on, a linear axis hides small values


def looks(nets: Sequence[Measured]) -> list[dict[str, Any]]:
    """Chooses a line style for each net.

    The colour shows the kind of net, and the shade and the marker show its depth. Plain nets have open markers,
    residual nets have filled markers, and each other kind has dashes of its own.

    There is one exception. Nets of the same kind and depth would look alike, so each of them gets its own marker and
    dashes; and its own colour too, if these nets differ in more than the seed.
    """
    colours = kind_colours([net["net"] for net in nets])
    dashed = [kind for kind in dict.fromkeys(net["net"] for net in nets) if kind not in ("plain", "resnet")]
    found = []
    for net in nets:
        alike = [other for other in nets if (other["net"], other["depth"]) == (net["net"], net["depth"])]
        rank = alike.index(net)
        look: dict[str, Any] = {"color": shade(colours[net["net"]], net["depth"]), "linewidth": 1.5}
        dashes = DASHES[rank % len(DASHES)]
        if net["net"] in dashed:  # never the solid line, which plain and residual nets have
            dashes = DASHES[1:][(2 + dashed.index(net["net"]) + rank) % (len(DASHES) - 1)]
        look |= {"linestyle": dashes, "label": net["name"], "marker": marker(net["depth"])}
        look |= {"markersize": _MARKER, "markevery": (0.0, _APART)}
        if net["net"] == "plain":
            look["markerfacecolor"] = "white"
        if len(alike) > 1:
            look |= {"marker": MARKERS[rank % len(MARKERS)], "markevery": (0.3 * _APART * rank, _APART)}
            if rank and not _SEED.search(net["name"]):
                look["color"] = OTHERS[(rank - 1) % len(OTHERS)]
        found.append(look)
    return found


def logarithmic(axes: Axes) -> None:
    """Makes the y-axis logarithmic. If it spans less than two decades, its labels are plain numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 100.0 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")


def layer_responses(measured: Measured) -> Figure:
    """Draws standard deviations of layer responses as in He et al. 2015, Fig. 7: by layer, and in descending order.

    Nets that differ only in the seed share one line, which is their mean. A band shows the lowest and highest values.
    """
    by_net: dict[str, list[Measured]] = {}
    for net in measured["nets"]:
        by_net.setdefault(_SEED.sub("", net["name"]), []).append(net)
    nets = [{**seeds[0], "name": name} for name, seeds in by_net.items()]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.3), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for seeds, look in zip(by_net.values(), looks(nets), strict=True):
            stds = np.asarray([net["std"] for net in seeds])
            x = np.arange(1, stds.shape[1] + 1)
            for axes, values in zip(panels, (stds, -np.sort(-stds, axis=1)), strict=True):
                axes.plot(x, values.mean(0), **look)
                if len(seeds) > 1:
                    band = {"color": look["color"], "alpha": _BAND, "linewidth": 0.0}
                    axes.fill_between(x, values.min(0), values.max(0), **band)
        panels[0].set_xlabel("layer, in order of computation")
        panels[1].set_xlabel("layer, sorted by magnitude")
        for axes in panels:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].set_ylabel("standard deviation of the response")
        everything = [std for net in measured["nets"] for std in net["std"]]
        if max(everything) > _WIDE * min(everything):
            logarithmic(panels[0])
        else:
            panels[0].set_ylim(bottom=0.0)
        legend_below(figure, *panels[0].get_legend_handles_labels())
        return figure


def gradient_flow(measured: Measured) -> Figure:
    """Draws the norms of the gradient at the initial values, by layer."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.subplots()
        for net, look in zip(measured["nets"], looks(measured["nets"]), strict=True):
            axes.plot(np.arange(1, len(net["initial"]) + 1), net["initial"], **look)
        logarithmic(axes)
        axes.set_xlabel("layer, in order of computation")
        axes.set_ylabel("norm of the gradient, initial values")
        figure.legend(loc="outside right upper")
        return figure


def gradient_flow_in_training(measured: Measured) -> Figure | None:
    """Draws gradient norms by layer and iteration, with a panel for each net. None if no net recorded them."""
    nets = [net for net in measured["nets"] if net["steps"]]
    if not nets:
        return None
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        columns = min(len(nets), 3)
        rows = -(-len(nets) // columns)
        figure = Figure(figsize=(2.6 * columns + 0.8, 2.5 * rows + 0.3), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        values = np.concatenate([np.ravel(net["training"]) for net in nets])
        values = values[np.isfinite(values) & (values > 0.0)]
        # Without the lowest 1 %: a layer with a vanished gradient would stretch the scale and hide the others.
        norm = LogNorm(*np.quantile(values, (0.01, 1.0)))
        for axes, net in zip(panels.flat, nets, strict=False):
            steps = np.asarray(
                [*net["steps"], 2 * net["steps"][-1] - net["steps"][-2]] if len(net["steps"]) > 1 else [0, 1]
            )
            layers = np.arange(len(net["layers"]) + 1) + 0.5
            mesh = axes.pcolormesh(steps, layers, np.transpose(net["training"]), norm=norm, cmap="viridis")
            axes.set_title(net["name"], loc="left")
            axes.set_xlabel("iterations")
        for axes in panels[:, 0]:
            axes.set_ylabel("layer")
        for axes in panels.flat[len(nets) :]:
            axes.set_axis_off()
        figure.colorbar(mesh, ax=panels, label="norm of the gradient", extend="min")
        return figure


def gradient_identity(measured: Measured) -> Figure:
    """Draws the gradient at each block, its two terms, and what their sum leaves over. Each net has a column."""
    nets = measured["nets"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(3.4, 2.7 * len(nets)), 4.2), layout="constrained")
        panels = figure.subplots(2, len(nets), sharex="col", sharey="row", squeeze=False, height_ratios=(2, 1))
        terms = (
            ("gradient", INK, "o", r"$\partial L/\partial x_l$"),
            ("carried", GREEN, "s", r"$\partial L/\partial x_L$, carried"),
            ("residual", PURPLE, "^", r"$\partial L/\partial x_L\;\partial\sum F/\partial x_l$"),
        )
        for (top, bottom), net in zip(panels.T, nets, strict=True):
            for name, colour, marker, label in terms:
                _by_stage(top, net["blocks"], net[name], color=colour, marker=marker, label=label)
            left = np.maximum(np.asarray(net["left"]) / np.asarray(net["gradient"]), 1e-17)
            _by_stage(bottom, net["blocks"], left, color=GREY, marker="o", label="_left")
            for axes in (top, bottom):
                axes.set_yscale("log")
                _stage_lines(axes, net["blocks"])
            top.set_title(net["name"], loc="left")
            bottom.set_xlabel("block")
        panels[0, 0].set_ylabel("norm")
        panels[1, 0].set_ylabel("left over / gradient")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        return figure


def _by_stage(axes: Axes, blocks: Sequence[str], values: Any, label: str, **look: Any) -> None:
    """Draws a separate line for each stage, with one legend entry for all lines."""
    stages = [name.partition("_")[0] for name in blocks]
    for stage in dict.fromkeys(stages):
        here = [i for i, other in enumerate(stages) if other == stage]
        axes.plot([i + 1 for i in here], [values[i] for i in here], markersize=3.0, linewidth=1.2, label=label, **look)
        label = f"_{label}" if not label.startswith("_") else label


def _stage_lines(axes: Axes, blocks: Sequence[str]) -> None:
    stages = [name.partition("_")[0] for name in blocks]
    for i, (a, b) in enumerate(itertools.pairwise(stages), start=1):
        if a != b and "stem" not in (a, b):
            axes.axvline(i + 0.5, color="#bbbbbb", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0.5)


def signal_propagation(measured: Measured) -> Figure:
    """Draws the forward variance, the extreme singular values, and the autocorrelation, by block."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 5.4), layout="constrained")
        ((variance, singular), (lag_one, by_lag)) = figure.subplots(2, 2)
        for net, look in zip(measured["nets"], looks(measured["nets"]), strict=True):
            x = np.arange(len(net["blocks"]))
            variance.plot(x, net["variance"], **look)
            singular.plot(x, _geometric_mean(net["largest"]), **look)
            low = look | {"label": f"_{look['label']}", "linewidth": 0.8, "markersize": 0.7 * _MARKER}
            singular.plot(x, _geometric_mean(net["smallest"]), **low)
            correlations = np.asarray(net["autocorrelation"])
            lag_one.plot(x, correlations[:, 1], **look)
            by_lag.plot(np.arange(correlations.shape[1]), correlations[-1], **look)
        for axes in (variance, singular):
            logarithmic(axes)
        exact = all(net["exact"] for net in measured["nets"])
        headings = (
            (variance, "Variance of the block's output"),
            (singular, f"Extreme singular values (smallest: thin{'' if exact else ', a bound'})"),
            (lag_one, "Autocorrelation of derivatives, lag 1"),
            (by_lag, "Autocorrelation, last block"),
        )
        for axes, heading in headings:
            axes.set_title(heading, loc="left")
            axes.set_xlabel("block (0: stem)")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        by_lag.set_xlabel(f"lag, in {measured['options']['points']} points between two images")
        legend_below(figure, *variance.get_legend_handles_labels())
        return figure


def _geometric_mean(values: Any) -> Any:  # over images: [images][blocks] -> [blocks]
    return np.exp(np.log(np.maximum(np.asarray(values, np.float64), 1e-300)).mean(axis=0))


def lesions(measured: Measured) -> Figure:
    """Draws the error with each block deleted alone, with random blocks deleted, and with random blocks swapped."""
    nets = measured["nets"]
    with mpl.rc_context(STYLE):
        swaps = any(net["swapped"] for net in nets)
        panels = 3 if swaps else 2
        figure = Figure(figsize=(3.2 * panels, 3.2), layout="constrained")
        single, deleted, *more = figure.subplots(1, panels, sharey=True, width_ratios=(1.2, 1, 1)[:panels])
        for net, look in zip(nets, looks(nets), strict=True):
            colour = look["color"]
            x = np.arange(1, len(net["blocks"]) + 1)
            single.plot(x, 100.0 * np.asarray(net["single"]), **look)
            single.axhline(100.0 * net["whole"], color=colour, linewidth=0.9, linestyle=":", label="_whole")
            for axes, kind in zip((deleted, *more), ("deleted", "swapped"), strict=False):
                if net[kind]:
                    _spread(axes, net["whole"], net[kind], look)
        headings = (
            ("One block deleted", "deleted block"),
            ("Blocks deleted at random", "number of deleted blocks"),
            ("Blocks swapped at random", "number of swaps"),
        )
        for axes, (heading, label) in zip((single, deleted, *more), headings, strict=False):
            axes.set_title(heading, loc="left")
            axes.set_xlabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        longest = max(nets, key=lambda net: len(net["blocks"]))
        if all(net["blocks"] == longest["blocks"][: len(net["blocks"])] for net in nets):
            _stage_lines(single, longest["blocks"])
        single.set_ylabel(f"{measured['options']['split']} error (%)".replace("train ", "training "))
        single.set_ylim(-2.0, 102.0)
        single.legend(loc="best")
        return figure


def _spread(axes: Axes, whole: float, errors: Any, look: dict[str, Any]) -> None:
    """Draws the mean and the range of errors over random choices. The first point is the unchanged net."""
    values = 100.0 * np.asarray([[whole] * len(errors[0]), *errors])
    x = np.arange(len(values))
    axes.plot(x, values.mean(axis=1), **look)
    axes.fill_between(x, values.min(axis=1), values.max(axis=1), color=look["color"], alpha=_BAND, linewidth=0.0)
