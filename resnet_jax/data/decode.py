"""Decodes image files to uint8 arrays, with Pillow.

| case                     | what happens                                                                              |
|--------------------------|-------------------------------------------------------------------------------------------|
| 3 channels               | Pillow's `convert("RGB")`: an alpha channel is dropped, palette colours become RGB        |
| 1 channel                | Pillow's `convert("L")`                                                                   |
| palette                  | counts as a colour image (`Header.grey` is False), even if all its colours are grey       |
| 16-bit grey              | scaled to 8 bits: v / 257, rounded (Pillow's own conversion would clip the values)        |
| 16-bit colour            | the upper byte of each value, because Pillow keeps only that byte                         |
| several frames           | the first frame                                                                           |
| EXIF orientation         | applied, so that the image is upright                                                     |
| resizing                 | as torchvision's Resize and CenterCrop: bilinear (or bicubic) with antialiasing           |
"""

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
# A format is recognised by the file's content. Pillow has more formats, but its reader for EPS starts another program.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
if features.check("avif"):  # Pillow 11.3 and later, if it was built with AVIF
    FORMATS += ("AVIF",)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by channels
GREY_MODES = frozenset(["1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N", "I"])
NO_RANGE = "its pixels are 32-bit numbers of unknown range; save it with 8 or 16 bits for each channel"


class Unreadable(Exception):
    """An image cannot be read. The message is only the reason, without a full stop."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing
        """Whether the file system may have caused the error, so that a second attempt could succeed."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image file: height and width of the upright image in pixels, and whether it is grey."""

    height: int
    width: int
    grey: bool


def header(file: str | bytes) -> Header:
    """Reads the size of an image, and whether it is grey, from its header.

    Args:
      file: the path of the image file, or its content.

    Raises:
      Unreadable: the file is missing, empty, not an image, damaged, or too large to be decoded.
    """
    with _reasons(), _stream(file) as stream, Image.open(stream, formats=FORMATS) as image:
        grey = image.mode in GREY_MODES
        _require_range(image)
        if image.width != image.height and _orientation(image) >= 5:
            _turn(image)  # formats differ in whether they have swapped the size already; decoding is slow, but rare
        return Header(image.height, image.width, grey)


def upright(file: str | bytes, *, channels: int) -> Image.Image:
    """Decodes an image, applies its EXIF orientation, and converts it to 8 bits per channel.

    Args:
      file: the path of the image file, or its content.
      channels: 3 for colour; 1 for grey; 4 for colour with an alpha channel.

    Raises:
      Unreadable: the file is missing, empty, not an image, damaged, truncated, or too large to be decoded.
    """
    # The file is read at once, because Pillow would read it in small steps.
    with _reasons(), _stream(file) as stream, Image.open(io.BytesIO(stream.read()), formats=FORMATS) as stored:
        _require_range(stored)
        _turn(stored)
        return _eight_bits(stored, MODES[channels])


def crop(file: str | bytes, choose: Callable[[int, int], Crop], *, channels: int) -> Images:
    """Decodes an image, cuts out a part, and resizes the part: [height, width, channels] uint8.

    At the border of the part, the resizing filter also reads the pixels around the part. So the result is the same, up
    to rounding, as if the whole image was resized first and then cropped.

    Args:
      file: the path of the image file, or its content.
      choose: a function that returns the part, given the width and height of the upright image in pixels.
      channels: 3 for colour; 1 for grey.

    Raises:
      Unreadable: the image cannot be read; see `upright`.
    """
    image = upright(file, channels=channels)
    part = choose(image.width, image.height)
    return _pixels(image.resize((part.width, part.height), Image.Resampling.BILINEAR, box=part.box))


def views(file: str | bytes, pass_: Pass | None, *, channels: int, multiple: int = 1) -> Images:
    """Decodes an image and makes its V crops for a pass of an evaluation: [V, height, width, channels] uint8.

    V is 5 with `Pass.corners`, otherwise 1. The whole image is resized and then cropped. If the resized image would
    have more than crops.LARGEST pixels, each crop is cut out first and then resized.

    Args:
      file: the path of the image file, or its content.
      pass_: the pass; None: the image is not resized.
      channels: 3 for colour; 1 for grey.
      multiple: in a pass without crops, the longer side is rounded to a multiple of this many pixels.

    Raises:
      Unreadable: the image cannot be read; see `upright`.
    """
    image = upright(file, channels=channels)
    if pass_ is None:
        return _pixels(image)[None]
    filter = Image.Resampling[pass_.interpolation.upper()]
    if pass_.crop is None:
        return _pixels(_resized(image, whole(*image.size, pass_, multiple), filter))[None]
    wide, tall = resized(*image.size, pass_.resize)
    corners = [(x, y, x + pass_.crop, y + pass_.crop) for x, y in offsets(wide, tall, pass_)]
    if wide * tall <= LARGEST:
        image = _resized(image, (wide, tall), filter)
        return np.stack([_pixels(image.crop(corner)) for corner in corners])
    across, down = image.width / wide, image.height / tall  # stored pixels for one of the resized image
    boxes = [(left * across, top * down, right * across, low * down) for left, top, right, low in corners]
    return np.stack([_pixels(image.resize((pass_.crop, pass_.crop), filter, box=box)) for box in boxes])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Turns off Pillow's warnings about damaged metadata, in all threads.

    Pillow's warning about images that are too large to decode becomes an error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
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
        # Errors of the file system have an errno; errors of Pillow have none.
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
    """Applies the EXIF orientation in place. A damaged orientation is ignored, as in image viewers."""
    image.load()  # errors in the pixels are raised here; the next block ignores errors in the metadata
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # "I" has 16-bit values here, see _require_range
        values: npt.NDArray[np.uint32] = np.asarray(image).astype(np.uint32)
        # v / 257, rounded; 257 is odd, so there are no ties.
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if mode != "RGBA":  # otherwise Pillow would keep a transparent colour, or warn that it cannot
        image.info.pop("transparency", None)
    return image if image.mode == mode else image.convert(mode)


def _resized(image: Image.Image, size: tuple[int, int], filter: Image.Resampling) -> Image.Image:
    return image if size == image.size else image.resize(size, filter)


def _pixels(image: Image.Image) -> Images:  # [height, width, channels], a copy
    return np.array(image).reshape(image.height, image.width, -1)
