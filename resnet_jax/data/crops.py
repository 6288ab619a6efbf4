"""The geometry of crops: which part of an image is used, and to which size it is resized.

A training crop is a pure function of (seed, epoch, index, width, height). So it does not depend on threads, devices and
processes, and a resumed run needs no state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from resnet_jax.config import DataConfig

# Separates the random numbers of crops from those of an epoch's order, whose seed is (seed, epoch).
CROPS = 1
# Attempts to draw a crop of random area before the centre is used, as in torchvision and fb.resnet.torch.
ATTEMPTS = 10
# Pixels of a whole image that a net is given; the first activations of a ResNet-50 fill 64 bytes for each.
LARGEST = 1 << 25


class Crop(NamedTuple):
    """A part of an image, and the size to which it is resized, in pixels."""

    box: tuple[float, float, float, float]
    """Left, top, right and bottom in the stored image; may be fractions of pixels."""
    width: int
    height: int


@dataclass(frozen=True)
class Pass:
    """One pass of an evaluation protocol over all images."""

    resize: int
    """Pixels of the image's shorter side, before the crop."""
    crop: int | None
    """Pixels of the square that is cut out; None: the whole image."""
    corners: bool = False
    """Whether the four corners are cut out in addition to the centre."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How the image is resized, with antialiasing; timm and Hugging Face mostly use "bicubic"."""


def passes(config: DataConfig) -> tuple[Pass, ...]:
    """The passes of `config.protocol` over all images."""
    assert config.image_size is not None
    if config.protocol == "multi_scale":
        return tuple(Pass(scale, None) for scale in config.eval_scales)
    return (Pass(config.eval_resize, config.image_size, corners=config.protocol == "ten_crop"),)


def resized(width: int, height: int, short: int) -> tuple[int, int]:
    """Width and height of an image whose shorter side becomes `short` pixels (torchvision's Resize, which cuts off)."""
    shorter = min(width, height)
    return int(width * short / shorter), int(height * short / shorter)


def training_crop(config: DataConfig, seed: int, epoch: int, index: int, width: int, height: int) -> Crop:
    """The crop of a training image of width x height pixels; it is resized to `config.image_size` pixels.

    Args:
      config: `crop` names the recipe, "scale" or "area"; see DataConfig.
      seed: the seed of the run.
      epoch: the epoch of the image.
      index: the image's position in the training set.
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
    """A rectangle of random area and shape: torchvision's RandomResizedCrop, with other random numbers.

    The share of the area is uniform in `config.areas`, and the logarithm of width / height is uniform between the
    logarithms of `config.aspects`. If ten attempts do not fit into the image, its centre with the nearest legal shape
    is used.
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


def offsets(width: int, height: int, look: Pass) -> list[tuple[int, int]]:
    """Left and top of each square that a pass cuts out of an image resized to width x height: the centre, then the
    corners."""
    assert look.crop is not None
    right, bottom = width - look.crop, height - look.crop
    centre = (round(right / 2), round(bottom / 2))
    return [centre, (0, 0), (right, 0), (0, bottom), (right, bottom)] if look.corners else [centre]


def whole(width: int, height: int, look: Pass, multiple: int) -> tuple[int, int]:
    """Width and height of an image in a pass without crops.

    The shorter side is `look.resize`. The longer side is rounded to a multiple, so that a data set has few shapes,
    because a step is compiled for each shape. It is at least as long as the shorter side.
    """
    scale = look.resize / min(width, height)

    def rounded(side: int) -> int:
        return max(look.resize, multiple * round(side * scale / multiple))

    return (look.resize, rounded(height)) if width <= height else (rounded(width), look.resize)


def too_long(config: DataConfig, sizes: npt.NDArray[np.int32]) -> dict[int, str]:
    """The images that are too long and narrow for a net to be given them whole, by position, with the reasons.

    Args:
      config: `protocol` says whether whole images are looked at, and `eval_scales` in which sizes.
      sizes: [N, 2], width and height in pixels; zeros where they are not known.
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
                f"{wide}x{tall} pixels, too many for a net; the protocols 'center' and 'ten_crop' can show it"
            )
    return found
