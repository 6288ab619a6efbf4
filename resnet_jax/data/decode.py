"""From image files to uint8 arrays, through Pillow, in parallel.

What each mode becomes. In colour: Pillow's `convert("RGB")`, which drops an alpha channel and looks up a palette. In
grey: `convert("L")`. A palette counts as colour, whatever its colours. 16-bit grey is scaled to 8 bits, v / 257
rounded; Pillow's own conversion would clip it. (16-bit colour reaches us with 8 bits: Pillow keeps the upper byte.)
Of several frames the first is taken. An orientation in the EXIF data is applied. Resizing is torchvision's Resize and
CenterCrop: the shorter side to the size, bilinear with antialiasing, then the square in the middle; bicubic for
published nets that ask for it.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError, features

from resnet_jax.data.crops import Crop, Pass, offsets, resized, whole
from resnet_jax.data.dataset import Images
from resnet_jax.data.threads import Results, in_order
from resnet_jax.text import reason

VERSION = 2
"""Version of the rules above: a cache that was made by other rules is not used."""
# By content, whatever the file's name says. No more than these: Pillow's EPS reader would start another program.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
if features.check("avif"):  # Pillow 11.3 and later, where it was built with it
    FORMATS += ("AVIF",)
GREY_MODES = frozenset(["1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N", "I"])
NO_RANGE = "its pixels are 32-bit numbers of no known range; save it with 8 or 16 bits a channel"


class Unreadable(Exception):
    """An image that cannot be had; the message is the reason, as a clause."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its image before it is decoded; sizes in pixels, as seen upright."""

    height: int
    width: int
    grey: bool


def header(file: str | bytes, *, upright: bool = True) -> Header:
    """Reads the size and mode of an image; of a file on the disk no more than that takes.

    Args:
      file: its path, or its content.
      upright: look for an EXIF orientation, which may swap height and width.

    Raises:
      Unreadable: it is missing, empty, not an image, damaged, or too large to be decoded.
    """
    with _reasons(), _stream(file) as stream, Image.open(stream, formats=FORMATS) as image:
        grey = image.mode in GREY_MODES
        _require_range(image)
        if upright and image.width != image.height and _orientation(image) >= 5:
            _turn(image)  # rare, so by decoding; formats differ in whether the size is already swapped
        return Header(image.height, image.width, grey)


def decode(
    path: str, *, channels: int, size: int | None, crop: int | None = None, interpolation: str = "bilinear"
) -> Images:
    """The image at `path`: [H, W, channels] uint8, square where a size is given.

    Args:
      channels: 3 for colour; 1 for grey: of a data set, where all its images are grey.
      size: pixels of the shorter side, and of the square; None: as stored.
      crop: pixels of the square, where it is smaller than the resized image's shorter side.
      interpolation: "bilinear" or "bicubic", both with antialiasing.

    Raises:
      Unreadable: see `header`; or it is truncated.
    """
    with _reasons(), _open(path) as stored:
        image = _ready(stored, channels)
        if size is not None:
            image = _square(image, size, crop or size, Image.Resampling[interpolation.upper()])
        # Copied out while the file is open: the array is Pillow's own memory.
        return np.array(image).reshape(image.height, image.width, channels)


def crop(file: str | bytes, choose: Callable[[int, int], Crop], *, channels: int) -> Images:
    """A part of an image, resized: [height, width, channels] uint8.

    Only the part is resized, and not the whole image before it is cropped. The filter looks beyond the part's borders,
    so that both orders give the same pixels up to rounding.

    Args:
      file: the image's path, or its content.
      choose: takes the image's width and height, upright, and names the part.
      channels: 3 or 1.

    Raises:
      Unreadable: see `header`; or it is truncated.
    """
    with _reasons(), _open(file) as stored:
        image = _ready(stored, channels)
        part = choose(image.width, image.height)
        cut = image.resize((part.width, part.height), Image.Resampling.BILINEAR, box=part.box)
        return np.array(cut).reshape(part.height, part.width, channels)


def upright(content: bytes, *, channels: int) -> Image.Image:
    """A decoded image, upright, with 8 bits for each of its channels.

    Raises:
      Unreadable: see `header`; or it is truncated.
    """
    with _reasons(), _open(content) as stored:
        image = _ready(stored, channels)
        image.load()
        return image


def look(file: str | bytes, seen: Pass, *, channels: int, multiple: int) -> Images:
    """An image as a pass of an evaluation protocol sees it: crops [V, height, width, channels] uint8.

    The whole image is resized, and cropped afterwards.

    Args:
      file: the image's path, or its content.
      seen: the pass.
      channels: 3 or 1.
      multiple: see `crops.whole`; for a pass without a crop.

    Raises:
      Unreadable: see `header`; or it is truncated, or so narrow that it would become absurdly long.
    """
    with _reasons(), _open(file) as stored:
        image, filter = _ready(stored, channels), Image.Resampling[seen.interpolation.upper()]
        if seen.crop is None:
            image = _resized(image, whole(*image.size, seen, multiple), filter)
            cuts = [image]
        else:
            image = _resized(image, resized(*image.size, seen.resize), filter)
            places = offsets(*image.size, seen)
            cuts = [image.crop((x, y, x + seen.crop, y + seen.crop)) for x, y in places]
        return np.stack([np.asarray(cut).reshape(cut.height, cut.width, channels) for cut in cuts])


def headers(paths: Sequence[str], *, upright: bool, advance: Callable[[int], None]) -> Results[Header | Unreadable]:
    """The header of each image, in order; `advance` is told how many more are done. See `header`.

    To be closed by the caller (contextlib.closing), as `fill` is: that ends the threads.
    """

    def work(i: int) -> Header | Unreadable:
        try:
            return header(paths[i], upright=upright)
        except Unreadable as reason:
            return reason

    return in_order(work, len(paths), advance)


def fill(
    images: Images, paths: Sequence[str], *, size: int | None, advance: Callable[[int], None]
) -> Results[Unreadable | None]:
    """Decodes each image into its row of `images` [N, H, W, C]; gives None, or why a row is left as it was, in order.

    See `decode` and `headers`.
    """

    def work(i: int) -> Unreadable | None:
        try:
            image = decode(paths[i], channels=images.shape[3], size=size)
        except Unreadable as reason:
            return reason
        if image.shape != images.shape[1:]:
            return Unreadable(f"it is {image.shape[1]}x{image.shape[0]} pixels, which its header does not say")
        images[i] = image
        return None

    return in_order(work, len(paths), advance)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings off, in all threads: of damaged metadata, which are not used here.

    One stays, as an error: of an image so large that decoding it would take absurd memory.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Any failure of Pillow's as Unreadable."""
    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unreadable(
            f"it has more than the {Image.MAX_IMAGE_PIXELS or 0:,} pixels that are safe to decode"
        ) from None
    except UnidentifiedImageError:
        raise Unreadable(f"it is no image in a format that is read here ({', '.join(FORMATS)})") from None
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise Unreadable(reason(error)) from None


def _stream(file: str | bytes) -> BinaryIO:
    stream = open(file, "rb") if isinstance(file, str) else io.BytesIO(file)  # noqa: SIM115  # the caller closes it
    if not stream.seek(0, io.SEEK_END):
        stream.close()
        raise Unreadable("it is empty (0 bytes)")
    stream.seek(0)
    return stream


def _open(file: str | bytes) -> Image.Image:
    # Read at once: Pillow would go back to the file in small steps.
    with _stream(file) as stream:
        return Image.open(io.BytesIO(stream.read()), formats=FORMATS)


def _ready(stored: Image.Image, channels: int) -> Image.Image:
    """The image decoded, upright, with 8 bits for each of its channels."""
    _require_range(stored)
    _turn(stored)
    return _eight_bits(stored, "L" if channels == 1 else "RGB")


def _require_range(image: Image.Image) -> None:
    # Mode I, 32-bit whole numbers, is also how some versions of Pillow open 16-bit PNG and PPM files.
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise Unreadable(NO_RANGE)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF data; the pixels may well be whole, which decoding will show
        return 1
    return value if isinstance(value, int) else 1


def _turn(image: Image.Image) -> None:
    """Applies the EXIF orientation in place; an orientation that cannot be read is none, as in image viewers."""
    image.load()  # outside the next block: what fails in there is metadata
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # "I" is in the range of 16 bits here, see _require_range
        values: npt.NDArray[np.uint32] = np.asarray(image).astype(np.uint32)
        # v / 257 rounded: 257 is odd, so there are no halves.
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    # Pillow would carry a transparent colour over, and warn where it cannot.
    image.info.pop("transparency", None)
    return image if image.mode == mode else image.convert(mode)


def _resized(
    image: Image.Image, size: tuple[int, int], filter: Image.Resampling = Image.Resampling.BILINEAR
) -> Image.Image:
    width, height = size
    if width * height > (Image.MAX_IMAGE_PIXELS or np.inf):
        raise Unreadable(f"it is so narrow ({image.width}x{image.height}) that resized it would be {width}x{height}")
    return image if size == image.size else image.resize(size, filter)


def _square(image: Image.Image, size: int, crop: int, filter: Image.Resampling) -> Image.Image:
    image = _resized(image, resized(*image.size, size), filter)
    ((left, top),) = offsets(*image.size, Pass(size, crop))
    return image.crop((left, top, left + crop, top + crop)) if image.size != (crop, crop) else image
