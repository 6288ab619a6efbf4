"""Draws images in a grid, with their class names."""

import io
import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from resnet_jax.files import write_atomically

COLUMNS = 8
# Size in inches of one image with its title.
CELL_WIDTH, CELL_HEIGHT = 1.0, 1.2
DOTS_PER_INCH = 200
NO_GLYPH = re.compile(r"Glyph .* missing from")  # how Matplotlib's warning starts


def image_grid(images: npt.NDArray[np.float64], titles: Sequence[str], heading: str) -> Figure:
    """Draws images in rows of eight, each with a title above it.

    Args:
      images: [N, H, W, C], values in [0, 1]. The first three channels are red, green and blue; further channels are not
        drawn. With fewer than three channels, the first channel is drawn in grey.
      titles: [N]. They are plain text: a dollar sign does not start a formula.
      heading: title of the figure.
    """
    rows = math.ceil(len(images) / COLUMNS)
    with mpl.rc_context({"font.size": 8, "axes.titlepad": 3}):
        figure = Figure(figsize=(CELL_WIDTH * COLUMNS, CELL_HEIGHT * rows + 0.4), layout="constrained")
        figure.suptitle(heading, fontsize=9, parse_math=False)
        for axes in figure.subplots(rows, COLUMNS, squeeze=False).flat:
            axes.set_axis_off()
        for axes, image, title in zip(figure.axes, images, titles, strict=False):
            drawn = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
            # No interpolation between pixels.
            axes.imshow(drawn, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
            axes.set_title(title if len(title) <= 16 else f"{title[:15]}…", parse_math=False)
    return figure


def save(figure: Figure, file: Path) -> bool:
    """Writes a figure in the format of the file's suffix. If writing fails, an existing file stays unchanged.

    Returns:
      Whether the font has all characters. A missing character, such as a Chinese one, is drawn as a box.

    Raises:
      OSError: the file cannot be written. The message names the file.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = io.BytesIO()
        figure.savefig(picture, format=file.suffix[1:].lower(), dpi=DOTS_PER_INCH)
    lacking = [warning for warning in caught if NO_GLYPH.match(str(warning.message))]
    for warning in caught:
        if warning not in lacking:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    write_atomically(file, picture.getvalue())
    return not lacking
