"""Image files to uint8 arrays, by Pillow, in parallel.

| case                     | what happens                                                                              |
|--------------------------|-------------------------------------------------------------------------------------------|
| in colour                | Pillow's `convert("RGB")`: an alpha channel is dropped, a palette is looked up            |
| in grey                  | `convert("L")`; an image with a palette counts as colour                                  |
| 16-bit grey              | scaled to 8 bits: v / 257, rounded (Pillow's own conversion would clip)                   |
| 16-bit colour            | the upper byte, which is all that Pillow keeps                                            |
| several frames           | the first                                                                                 |
| an orientation in EXIF   | applied                                                                                   |
| resizing                 | torchvision's Resize and CenterCrop: bilinear (or bicubic) with antialiasing              |
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError, features

from resnet_jax.data.crops import LARGEST, Crop, Pass, offsets, resized, whole
from resnet_jax.data.dataset import Images
from resnet_jax.text import reason

VERSION = 2
"""Version of the rules above; a cache made by another version is not used."""
# Recognised by content, not by name. Pillow has more readers, but that for EPS would start another program.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
if features.check("avif"):  # Pillow 11.3 and later, where it was built with it
    FORMATS += ("AVIF",)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by channels
GREY_MODES = frozenset(["1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N", "I"])
NO_RANGE = "its pixels are 32-bit numbers of unknown range; save it with 8 or 16 bits for each channel"


class Unreadable(Exception):
    """An image cannot be read; the message is the reason, as a clause."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing
        """Whether the file system gave the reason, or may have: another attempt can succeed on the same file."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image file; sizes in pixels, of the upright image."""

    height: int
    width: int
    grey: bool


def header(file: str | bytes) -> Header:
    """Reads the size and mode of an image, without decoding it.

    Args:
      file: its path, or its content.

    Raises:
      Unreadable: it is missing, empty, not an image, damaged, or too large to be decoded.
    """
    with _reasons(), _stream(file) as stream, Image.open(stream, formats=FORMATS) as image:
        grey = image.mode in GREY_MODES
        _require_range(image)
        if image.width != image.height and _orientation(image) >= 5:
            _turn(image)  # rare, so it may decode; formats differ in whether the size is already swapped
        return Header(image.height, image.width, grey)


def upright(file: str | bytes, *, channels: int) -> Image.Image:
    """A decoded image, upright, with 8 bits for each of its channels.

    Args:
      file: the image's path, or its content.
      channels: 3 for colour; 1 for grey; 4 for colour with an alpha channel.

    Raises:
      Unreadable: see `header`; or it is truncated.
    """
    # Read at once, because Pillow would read in small steps.
    with _reasons(), _stream(file) as stream, Image.open(io.BytesIO(stream.read()), formats=FORMATS) as stored:
        _require_range(stored)
        _turn(stored)
        return _eight_bits(stored, MODES[channels])


def crop(file: str | bytes, choose: Callable[[int, int], Crop], *, channels: int) -> Images:
    """Cuts out and resizes a part of an image: [height, width, channels] uint8.

    Only the part is resized. The filter also reads pixels outside the part, so the result is that of resizing the whole
    image first, up to rounding.

    Args:
      file: the image's path, or its content.
      choose: a function of the upright image's width and height that gives the part.
      channels: 3 or 1.

    Raises:
      Unreadable: see `upright`.
    """
    image = upright(file, channels=channels)
    part = choose(image.width, image.height)
    return _pixels(image.resize((part.width, part.height), Image.Resampling.BILINEAR, box=part.box))


def look(file: str | bytes, seen: Pass | None, *, channels: int, multiple: int = 1) -> Images:
    """The crops of an image in a pass of an evaluation protocol: [V, height, width, channels] uint8.

    The whole image is resized, then cropped. Of an image so narrow that it would become absurdly long, only
    the crops are resized.

    Args:
      file: the image's path, or its content.
      seen: the pass; None: the image as it is stored.
      channels: 3 or 1.
      multiple: see `crops.whole`; for a pass without a crop.

    Raises:
      Unreadable: see `upright`.
    """
    image = upright(file, channels=channels)
    if seen is None:
        return _pixels(image)[None]
    filter = Image.Resampling[seen.interpolation.upper()]
    if seen.crop is None:
        return _pixels(_resized(image, whole(*image.size, seen, multiple), filter))[None]
    wide, tall = resized(*image.size, seen.resize)
    corners = [(x, y, x + seen.crop, y + seen.crop) for x, y in offsets(wide, tall, seen)]
    if wide * tall <= LARGEST:
        image = _resized(image, (wide, tall), filter)
        return np.stack([_pixels(image.crop(corner)) for corner in corners])
    across, down = image.width / wide, image.height / tall  # stored pixels for one of the resized image
    boxes = [(left * across, top * down, right * across, low * down) for left, top, right, low in corners]
    return np.stack([_pixels(image.resize((seen.crop, seen.crop), filter, box=box)) for box in boxes])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Turns off Pillow's warnings about damaged metadata, in all threads.

    The warning about images too large to decode becomes an error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turns all errors of Pillow into Unreadable."""
    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unreadable(
            f"it has more than the {Image.MAX_IMAGE_PIXELS or 0:,} pixels that are safe to decode"
        ) from None
    except UnidentifiedImageError:
        raise Unreadable(f"it is not an image in one of the formats {', '.join(FORMATS)}") from None
    except Exception as error:  # with damaged files, Pillow raises many kinds of errors
        # Errors of the file system have a number, Pillow's own have none.
        raise Unreadable(reason(error), passing=isinstance(error, OSError) and error.errno is not None) from None


def _stream(file: str | bytes) -> BinaryIO:
    stream = open(file, "rb") if isinstance(file, str) else io.BytesIO(file)  # noqa: SIM115  # the caller closes it
    if not stream.seek(0, io.SEEK_END):
        stream.close()
        raise Unreadable("it is empty (0 bytes)")
    stream.seek(0)
    return stream


def _require_range(image: Image.Image) -> None:
    # Mode I, 32-bit whole numbers, is also how some versions of Pillow open 16-bit PNG and PPM files.
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise Unreadable(NO_RANGE)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF data; the pixels may still be whole
        return 1
    return value if isinstance(value, int) else 1


def _turn(image: Image.Image) -> None:
    """Applies the EXIF orientation in place. One that cannot be read is ignored, as in image viewers."""
    image.load()  # before the next block, which ignores errors of metadata
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # "I" has 16-bit values here, see _require_range
        values: npt.NDArray[np.uint32] = np.asarray(image).astype(np.uint32)
        # v / 257, rounded; 257 is odd, so there are no ties.
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if mode != "RGBA":  # Pillow would carry a transparent colour over, and warn where it cannot
        image.info.pop("transparency", None)
    return image if image.mode == mode else image.convert(mode)


def _resized(image: Image.Image, size: tuple[int, int], filter: Image.Resampling) -> Image.Image:
    return image if size == image.size else image.resize(size, filter)


def _pixels(image: Image.Image) -> Images:
    """[height, width, channels], a copy."""
    return np.array(image).reshape(image.height, image.width, -1)
