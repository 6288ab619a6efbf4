"""The figure of path lengths, in the style of Veit et al. 2016, Fig. 6."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_jax.reports.figures.instruments import looks
from resnet_jax.reports.figures.style import STYLE


def path_lengths(measured: dict[str, Any]) -> Figure:
    """Draws, by path length: the number of paths, the gradient of one path, and that of all paths of this length."""
    nets = measured["nets"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.2), layout="constrained")
        number, one, together = figure.subplots(1, 3)
        for net, look in zip(nets, looks(nets), strict=True):
            lengths = np.arange(len(net["paths"]))
            paths, norms = np.asarray(net["paths"], float), np.asarray(net["norms"], float)
            mean = norms.mean(1)
            carried = paths * mean
            number.plot(lengths, 100.0 * paths / paths.sum(), **look)
            one.plot(lengths, mean, **look)
            one.fill_between(lengths, norms.min(1), norms.max(1), color=look["color"], alpha=0.15, linewidth=0.0)
            together.plot(lengths, 100.0 * carried / carried.sum(), **look)
        one.set_yscale("log")
        headings = (
            (number, "Paths of each length", "share of all paths (%)"),
            (one, "Gradient that one path carries", "norm at the first block"),
            (together, "Gradient of all paths of a length", "share of the sum over lengths (%)"),
        )
        for axes, heading, label in headings:
            axes.set_title(heading, loc="left")
            axes.set_xlabel("path length (residual branches)")
            axes.set_ylabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        number.legend(loc="best")
        return figure
