"""A grid of images with their class names: what the net sees."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

COLUMNS = 8
# Inches of one image with its title.
CELL_WIDTH, CELL_HEIGHT = 1.0, 1.2


def image_grid(images: npt.NDArray[np.float64], titles: Sequence[str], heading: str) -> Figure:
    """A figure of images in rows of eight.

    Args:
      images: [N, H, W, C] in 0..1, C = 1 or 3.
      titles: [N], above each image.
      heading: above all.
    """
    rows = math.ceil(len(images) / COLUMNS)
    with mpl.rc_context({"font.size": 8, "axes.titlepad": 3}):
        figure = Figure(figsize=(CELL_WIDTH * COLUMNS, CELL_HEIGHT * rows + 0.4), layout="constrained")
        figure.suptitle(heading, fontsize=9)
        for axes in figure.subplots(rows, COLUMNS, squeeze=False).flat:
            axes.set_axis_off()
        for axes, image, title in zip(figure.axes, images, titles, strict=False):
            grey = image.shape[-1] == 1
            # Pixels as they are: no smoothing between them.
            axes.imshow(image[..., 0] if grey else image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
            axes.set_title(title if len(title) <= 16 else f"{title[:15]}…")
    return figure
