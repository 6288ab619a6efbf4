"""The geometry of crops: which part of an image is cut out, and to which size it is resized.

A training crop is a pure function of (seed, epoch, index, width, height). So it is the same for any number of threads,
devices and processes, and a resumed run needs no stored state of a random generator.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from resnet_jax.config import DataConfig

# Part of the seed of a crop, so that its random numbers differ from those of the order of an epoch (order.py).
CROPS = 1
# Attempts to draw a crop of random area, as in torchvision and fb.resnet.torch.
ATTEMPTS = 10
# Largest number of pixels of a resized image. The first activations of a ResNet-50 fill 64 bytes for each pixel.
LARGEST = 1 << 25


class Crop(NamedTuple):
    """A part of an image, and the size to which it is resized, in pixels."""

    box: tuple[float, float, float, float]
    """Left, top, right and bottom in the stored image; may be fractions of pixels."""
    width: int
    height: int


@dataclass(frozen=True)
class Pass:
    """A pass over all images in an evaluation: how each image is resized and cropped."""

    resize: int
    """Length in pixels to which the shorter side of the image is resized, before the crop."""
    crop: int | None
    """Side in pixels of the square that is cut out; None: the whole image is used."""
    corners: bool = False
    """Whether the four corners are cut out in addition to the centre."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Interpolation with which the image is resized, with antialiasing; many nets of timm and Hugging Face use
    "bicubic"."""


def passes(config: DataConfig) -> tuple[Pass, ...]:
    """The passes over all images that the evaluation protocol `config.protocol` needs."""
    assert config.image_size is not None
    if config.protocol == "multi_scale":
        return tuple(Pass(scale, None) for scale in config.eval_scales)
    return (Pass(config.eval_resize, config.image_size, corners=config.protocol == "ten_crop"),)


def resized(width: int, height: int, short: int) -> tuple[int, int]:
    """Width and height of an image after resizing: the shorter side becomes `short` pixels, as in torchvision."""
    shorter = min(width, height)
    return int(width * short / shorter), int(height * short / shorter)


def training_crop(config: DataConfig, seed: int, epoch: int, index: int, width: int, height: int) -> Crop:
    """Draws the random crop of a training image: a box, and the size to which it is resized, `config.image_size`.

    Args:
      config: settings of the crop; `config.crop` is "scale" or "area".
      seed: the seed of the run.
      epoch: the epoch in which the image is used.
      index: the image's position in the training set.
      width, height: size of the stored image in pixels.
    """
    size = config.image_size
    assert size is not None
    draw = np.random.default_rng((seed, epoch, index, CROPS))
    if config.crop == "scale":
        low, high = config.scales
        wide, tall = resized(width, height, int(draw.integers(low, high + 1)))
        left, top = int(draw.integers(wide - size + 1)), int(draw.integers(tall - size + 1))
        across, down = width / wide, height / tall  # stored pixels per pixel of the resized image
        return Crop((left * across, top * down, (left + size) * across, (top + size) * down), size, size)
    assert config.crop == "area"
    box = _area(config, draw, width, height)
    return Crop(box, size, size)


def _area(config: DataConfig, draw: np.random.Generator, width: int, height: int) -> tuple[float, float, float, float]:
    """Draws a rectangle (left, top, right, bottom) of random area and shape, like torchvision's RandomResizedCrop.

    The share of the image's area is uniform in `config.areas`, and the logarithm of width / height is uniform between
    the logarithms of `config.aspects`. If ten rectangles in a row do not fit into the image, a rectangle in its centre
    is used, as large as `config.aspects` allows.
    """
    (least, most), (low, high) = config.areas, config.aspects
    for _ in range(ATTEMPTS):
        area = width * height * draw.uniform(least, most)
        aspect = math.exp(draw.uniform(math.log(low), math.log(high)))
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            left, top = int(draw.integers(width - wide + 1)), int(draw.integers(height - tall + 1))
            return left, top, left + wide, top + tall
    wide, tall = width, height
    if width / height < low:
        tall = min(round(width / low), height)
    elif width / height > high:
        wide = min(round(height * high), width)
    left, top = (width - wide) // 2, (height - tall) // 2
    return left, top, left + wide, top + tall


def offsets(width: int, height: int, pass_: Pass) -> list[tuple[int, int]]:
    """The corner (left, top) of each square crop of an image that was resized to width x height pixels.

    The centre crop is first; the four corner crops follow if `pass_.corners` is True.
    """
    assert pass_.crop is not None
    right, bottom = width - pass_.crop, height - pass_.crop
    centre = (round(right / 2), round(bottom / 2))
    return [centre, (0, 0), (right, 0), (0, bottom), (right, bottom)] if pass_.corners else [centre]


def whole(width: int, height: int, pass_: Pass, multiple: int) -> tuple[int, int]:
    """Width and height to which an image of width x height pixels is resized, in a pass without crops.

    The shorter side becomes `pass_.resize` pixels. The longer side is rounded to a multiple of `multiple` pixels, but
    is not shorter than the shorter side. So there are few shapes; an evaluation step is compiled for each of them.
    """
    scale = pass_.resize / min(width, height)

    def rounded(side: int) -> int:
        return max(pass_.resize, multiple * round(side * scale / multiple))

    return (pass_.resize, rounded(height)) if width <= height else (rounded(width), pass_.resize)


def too_long(config: DataConfig, sizes: npt.NDArray[np.int32]) -> dict[int, str]:
    """Finds images that the protocol "multi_scale" would resize to more than LARGEST pixels: {position: reason}.

    These images are very narrow: the protocol gives their shorter side a fixed length, so the longer side is too long.
    `sizes` [N, 2] has the width and height of each image in pixels, or zeros if they are unknown.
    """
    if not config.by_protocol or config.protocol != "multi_scale":
        return {}
    largest = Pass(max(config.eval_scales), None)
    found = {}
    for i, (width, height) in enumerate(sizes.tolist()):
        wide, tall = whole(width, height, largest, config.eval_multiple) if width else (0, 0)
        if wide * tall > LARGEST:
            found[i] = (
                f"it is so narrow ({width}x{height} pixels) that at the scale {largest.resize} it would be "
                f"{wide}x{tall} pixels, too many for a net; with data.protocol='center' or 'ten_crop' it can be used"
            )
    return found
