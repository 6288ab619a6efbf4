"""Figures of loss landscapes in the style of Li et al. 2018, with several nets on one scale."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from resnet_jax.reports.figures.instruments import logarithmic, looks
from resnet_jax.reports.figures.style import GREY, STYLE
from resnet_jax.types import Floats

Measured = dict[str, Any]
_LEVELS = 25
_COLOURS = "viridis"


def landscape(measured: Measured) -> Figure:
    """Draws the loss along a line, or over a plane."""
    return _line(measured) if measured["options"]["dimensions"] == 1 else _plane(measured)


def _line(measured: Measured) -> Figure:
    nets = measured["nets"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True)
        for net, look in zip(nets, looks(nets), strict=True):
            panels[0].plot(net["along"], _numbers(net["loss"]), **look)
            panels[1].plot(net["along"], 100.0 * _numbers(net["error"]), **look)
        logarithmic(panels[0])
        panels[0].set_ylabel("loss (nats)")
        panels[1].set_ylabel("error (%)")
        panels[1].set_ylim(-2.0, 102.0)
        for axes in panels:
            axes.set_xlabel("distance along the direction")
        panels[0].legend(loc="best")
        return figure


def _plane(measured: Measured) -> Figure:
    nets = measured["nets"]
    grids = [_numbers(net["loss"]) for net in nets]
    levels = _shared_levels(grids)
    norm = LogNorm(levels[0], levels[-1])
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(3.4 * len(nets) + 0.7, 6.4), layout="constrained")
        flat = []
        for i, (net, grid) in enumerate(zip(nets, grids, strict=True)):
            along = np.asarray(net["along"])
            shown = np.clip(grid, levels[0], levels[-1])
            axes = figure.add_subplot(2, len(nets), i + 1)
            flat.append(axes)
            filled = axes.contourf(along, along, shown.T, levels, norm=norm, cmap=_COLOURS)
            axes.contour(along, along, shown.T, levels, colors="white", linewidths=0.4, alpha=0.7)
            axes.plot([0.0], [0.0], marker="+", color="white", markersize=8.0, markeredgewidth=1.4)
            middle = grid[len(along) // 2, len(along) // 2]
            axes.set_title(f"{net['name']}: loss {middle:.3g} at +", loc="left")
            axes.set_aspect("equal")
            axes.set_xlabel("first direction")
            axes.set_ylabel("second direction" if i == 0 else "")
            _surface(figure, (2, len(nets), len(nets) + i + 1), along, shown, norm, str(net["name"]))
        ticks = [
            v for v in (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3, 10, 30, 100, 1e3, 1e4) if levels[0] <= v <= levels[-1]
        ]
        bar = figure.colorbar(filled, ax=flat, label="loss (nats)", ticks=ticks)
        bar.ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        bar.ax.minorticks_off()
        return figure


def _surface(
    figure: Figure, place: tuple[int, int, int], along: Floats, shown: Floats, norm: LogNorm, name: str
) -> None:
    axes: Any = figure.add_subplot(*place, projection="3d")
    x, y = np.meshgrid(along, along, indexing="ij")
    axes.plot_surface(
        x, y, np.log10(shown), facecolors=mpl.colormaps[_COLOURS](norm(shown)), rstride=1, cstride=1,
        linewidth=0.15, edgecolor=GREY, antialiased=True, shade=False,
    )  # fmt: skip
    axes.set_xticks([along[0], 0.0, along[-1]])
    axes.set_yticks([along[0], 0.0, along[-1]])
    axes.tick_params(pad=0.0)
    low, high = norm.vmin, norm.vmax
    assert low is not None
    assert high is not None
    axes.set_zlim(np.log10(low), np.log10(high))
    decades = [v for v in (1e-3, 1e-2, 0.1, 1, 10, 100, 1e3, 1e4) if low <= v <= high]
    axes.set_zticks([np.log10(v) for v in decades], [f"{v:g}" for v in decades])
    axes.set_zlabel("loss (nats)")
    axes.set_title(f"{name}, as a surface", loc="left")
    axes.view_init(elev=32.0, azim=-60.0)
    axes.set_box_aspect((1.0, 1.0, 0.8), zoom=1.05)


def _shared_levels(grids: Sequence[Floats]) -> Floats:
    low = min(float(np.nanmin(grid)) for grid in grids)
    high = max(float(np.nanmax(grid)) for grid in grids)
    return np.geomspace(max(low, 1e-4) * 0.999, max(high, 1e-3) * 1.001, _LEVELS)


def _numbers(values: Any) -> Floats:
    return np.asarray(values, np.float64)
