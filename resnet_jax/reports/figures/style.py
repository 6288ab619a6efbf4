"""Colours and markers for all figures, and the function that saves figures.

- The colour shows the kind of net: vermilion for plain, blue for residual. `KINDS` has the colours of other kinds.
- The shade and the marker show the depth, in the same way in every figure. Deeper nets are darker.
- Training error is dashed with open markers. Test error is solid with filled markers.

Colours are Okabe and Ito's (2008), which colour-blind readers can distinguish. No figure relies on colour alone. The
functions change no global Matplotlib setting, and the same runs give the same bytes.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from resnet_jax.reports.comparison import Variant
from resnet_jax.reports.stats import Summary

DOTS_PER_INCH = 200

# Okabe and Ito's colours, without black, which is for text, and yellow, which is too faint on white.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
INK, GREY, LIGHT = "#333333", "#666666", "#bbbbbb"
KINDS = {"plain": VERMILION, "resnet": BLUE, "preact-resnet": GREEN, "resnet-B": PURPLE, "resnet-C": ORANGE}
OTHERS = (GREEN, PURPLE, ORANGE, SKY, INK)
"""Colours, in order, for variants that are neither plain nor the baseline."""
_MARKERS = {8: "o", 14: "p", 20: "s", 26: "H", 32: "^", 44: "D", 56: "v", 110: "P", 164: "X"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHED: Any = (0, (4, 2))
DASHES: tuple[Any, ...] = ("-", (0, (6, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.4, 1.2, 1.4)), (0, (9, 2, 1.2, 2, 1.2, 2)))
_PALEST, _SHALLOW, _DEEP = 0.35, 8, 110

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # part of Matplotlib, so every machine draws the same letters
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
    "legend.handlelength": 3.2,  # long enough to show dashes
    "svg.hashsalt": "resnet_jax",
    "svg.fonttype": "path",
}


def shade(colour: str, depth: int) -> str:
    """Lightens a colour for a depth: shallower nets are paler, on the same scale in all figures."""
    share = math.log(depth / _SHALLOW) / math.log(_DEEP / _SHALLOW)
    strength = _PALEST + (1.0 - _PALEST) * min(1.0, max(0.0, share))
    red, green, blue = (strength * c + (1.0 - strength) for c in to_rgb(colour))
    return to_hex((red, green, blue))


def marker(depth: int) -> str:
    """The marker for nets of a depth."""
    return _MARKERS.get(depth, "*")


def kind_colours(kinds: Sequence[str]) -> dict[str, str]:
    """A colour for each kind of net. A kind that is not in `KINDS` gets a colour that no other kind has."""
    free = [colour for colour in (*OTHERS, GREY) if colour not in {KINDS.get(kind) for kind in kinds}]
    unknown = [kind for kind in dict.fromkeys(kinds) if kind not in KINDS]
    return {**KINDS, **{kind: free[i % len(free)] for i, kind in enumerate(unknown)}}


def variant_colours(cells: Sequence[Variant]) -> list[str]:
    """A colour for each variant: vermilion for plain nets, blue for the first variant if it is not plain.

    The first variant is the baseline. The other variants get colours of `OTHERS`.
    """
    free = [colour for colour in OTHERS if colour != (KINDS.get(cells[0].net) if cells else None)]
    colours, taken = [], 0
    for number, cell in enumerate(cells):
        if number == 0 or cell.is_plain:
            colours.append(VERMILION if cell.is_plain else BLUE)
        else:
            colours.append(free[taken % len(free)])
            taken += 1
    return colours


def sequence(number: int) -> list[str]:
    """Colours for the values of a numeric field, from dark for the lowest to light for the highest value."""
    scale = mpl.colormaps["viridis"]
    return [to_hex(scale(0.78 * (i / max(1, number - 1)))) for i in range(number)]


def spread(summary: Summary) -> float:
    """The length of an error bar in per cent: the standard deviation. NaN for one seed, which has no error bar."""
    return math.nan if summary.std is None else 100.0 * summary.std


def from_zero(axes: Axes, most: float | None = None) -> None:
    """Starts the y-axis slightly below zero, so that a marker at zero is completely visible.

    The axis ends slightly above the highest value, or slightly above `most` if this is lower.
    """
    top = max(axes.dataLim.y1, *(other.dataLim.y1 for other in axes.figure.axes))
    top = max(1.0, 1.08 * top)
    top = min(top, most * 1.02) if most is not None else top
    axes.set_ylim(-0.02 * top, top)


def legend_below(figure: Figure, handles: Sequence[Artist], labels: Sequence[str] | None = None) -> None:
    """Puts a legend below the panels, in as many columns as fit the figure's width."""
    labels = [str(handle.get_label()) for handle in handles] if labels is None else labels
    # Width of a handle, its gaps, and about half an em for each letter; one em is the font's size in points.
    ems = STYLE["legend.handlelength"] + 3.0 + 0.55 * max(map(len, labels))
    columns = int(figure.get_figwidth() / (ems * STYLE["legend.fontsize"] / 72.0))
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, min(columns, len(labels))))


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Writes labels at the right ends of lines, and moves overlapping labels apart.

    Args:
      axes: axes with their final limits.
      ends: x, y, text and colour of each label.
    """
    low, high = axes.get_ylim()
    least = 0.085 * (high - low)
    y_text = -math.inf
    for x, y, text, colour in sorted(ends, key=lambda end: end[1]):
        y_text = max(y, y_text + least)
        axes.annotate(
            text, (x, y), xytext=(x, y_text), textcoords="data", color=colour, fontsize=8.5, va="center",
            annotation_clip=False,
        ).set_x(x)  # fmt: skip


def save(figure: Figure, folder: Path, stem: str, about: Mapping[str, str] | None = None) -> None:
    """Writes <stem>.png and <stem>.svg, without dates or versions, so that the same figure gives the same bytes.

    Args:
      figure: the figure to save.
      folder: an existing folder.
      stem: name of the files without suffix.
      about: origin of the figure, for the metadata of the files, such as {"Study": "digits-depth"}.
    """
    FigureCanvasAgg(figure)
    text = {key: value.encode("latin-1", "replace").decode("latin-1") for key, value in (about or {}).items()}
    described = {"Description": "\n".join(f"{key}: {value}" for key, value in (about or {}).items())} if about else {}
    for suffix, metadata in (
        ("png", {"Software": None, **text}),
        ("svg", {"Date": None, "Creator": None, **described}),
    ):
        buffer = io.BytesIO()
        with mpl.rc_context(STYLE):
            figure.savefig(buffer, format=suffix, dpi=DOTS_PER_INCH, metadata=metadata, facecolor="white")
        (folder / f"{stem}.{suffix}").write_bytes(buffer.getvalue())
