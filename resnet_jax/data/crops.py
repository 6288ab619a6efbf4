"""Which part of an image a net is given, and at which size: geometry alone, in numbers; no pixel is touched here.

A training crop is a pure function of (seed, epoch, index, width, height). So any number of threads, devices and
processes crops alike, and a run that goes on at a later step needs no state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from resnet_jax.config import DataConfig

# Keeps the stream of a crop's random numbers apart from that of an epoch's order, whose seed is (seed, epoch).
CROPS = 1
# Attempts at a crop of random area before the middle is taken (torchvision's and fb.resnet.torch's number).
ATTEMPTS = 10
# Pixels of a whole image that a net is given; the first activations of a ResNet-50 fill 64 bytes for each.
LARGEST = 1 << 25


class Crop(NamedTuple):
    """A part of an image and the size that it is resized to, in pixels."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom in the stored image; may lie between pixels."""
    width: int
    height: int


@dataclass(frozen=True)
class Pass:
    """One look of an evaluation protocol at every image."""

    resize: int
    """Pixels of the image's shorter side, before the crop."""
    crop: int | None
    """Pixels of the square that is cut out; None: the whole image."""
    corners: bool = False
    """Whether the four corners are cut out beside the centre."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How the image is resized, with antialiasing; "bicubic" is usual for timm's and Hugging Face's nets."""


def passes(config: DataConfig) -> tuple[Pass, ...]:
    """The looks at every image that `config.protocol` consists of."""
    assert config.image_size is not None
    if config.protocol == "multi_scale":
        return tuple(Pass(scale, None) for scale in config.eval_scales)
    return (Pass(config.eval_resize, config.image_size, corners=config.protocol == "ten_crop"),)


def resized(width: int, height: int, short: int) -> tuple[int, int]:
    """Width and height of an image whose shorter side becomes `short` pixels (torchvision's Resize, which cuts off)."""
    shorter = min(width, height)
    return int(width * short / shorter), int(height * short / shorter)


def training_crop(config: DataConfig, seed: int, epoch: int, index: int, width: int, height: int) -> Crop:
    """The crop of a training image of width x height pixels, `config.image_size` pixels wide and high.

    Args:
      config: `crop` names the recipe, "scale" or "area"; see DataConfig.
      seed: of the run.
      epoch: in which the image is seen.
      index: the image's position in the training set.
    """
    size = config.image_size
    assert size is not None
    draw = np.random.default_rng((seed, epoch, index, CROPS))
    if config.crop == "scale":
        low, high = config.scales
        wide, tall = resized(width, height, int(draw.integers(low, high + 1)))
        left, top = int(draw.integers(wide - size + 1)), int(draw.integers(tall - size + 1))
        across, down = width / wide, height / tall  # stored pixels for one of the resized image
        return Crop((left * across, top * down, (left + size) * across, (top + size) * down), size, size)
    assert config.crop == "area"
    box = _area(config, draw, width, height)
    return Crop(box, size, size)


def _area(config: DataConfig, draw: np.random.Generator, width: int, height: int) -> tuple[float, float, float, float]:
    """A rectangle of random area and shape: torchvision's RandomResizedCrop, with other random numbers.

    The share of the area is uniform in `config.areas` and the logarithm of width / height in that of `config.aspects`.
    Where ten attempts do not fit the image, the middle of it with the nearest legal shape is taken.
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
    """Left and top of each square that a look cuts out of an image resized to width x height: centre, then corners."""
    assert look.crop is not None
    right, bottom = width - look.crop, height - look.crop
    centre = (round(right / 2), round(bottom / 2))
    return [centre, (0, 0), (right, 0), (0, bottom), (right, bottom)] if look.corners else [centre]


def whole(width: int, height: int, look: Pass, multiple: int) -> tuple[int, int]:
    """Width and height at which a look without a crop gives the whole image to a net.

    The shorter side is `look.resize`. The longer side is rounded to a multiple, and is no less than the shorter one, so
    that a data set has few shapes: for each shape a step is compiled.
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
