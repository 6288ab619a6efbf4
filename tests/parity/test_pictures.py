"""What evaluation shows of a picture, beside torchvision's own transforms of PIL images, to the last grey level.

torchvision goes with another release of PyTorch than the other tests here. These are skipped where it is not installed:
install it in an environment of its own, and run python -m pytest tests/parity/test_pictures.py there.
"""

import io

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data import decode
from resnet_jax.data.crops import Pass
from tests.data.pictures import photo

transforms = pytest.importorskip("torchvision.transforms.v2")

SIZES = [(500, 375), (375, 500), (256, 256), (224, 224), (257, 256), (640, 427), (80, 61), (301, 225), (1000, 230)]


def stored(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def shown(picture: Image.Image, look: Pass, channels: int = 3) -> np.ndarray:
    return decode.views(stored(picture), look, channels=channels, multiple=1)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_centre_crop(size: tuple[int, int], interpolation: str) -> None:
    picture = photo(*size, seed=sum(size))
    mode = transforms.InterpolationMode(interpolation)
    for resize, crop in ((256, 224), (232, 224), (224, 224), (73, 64)):
        theirs = transforms.CenterCrop(crop)(transforms.Resize(resize, mode)(picture))
        (ours,) = shown(picture, Pass(resize, crop, interpolation=interpolation))  # type: ignore[arg-type]
        np.testing.assert_array_equal(ours, np.asarray(theirs))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_ten_crops(size: tuple[int, int]) -> None:
    picture = photo(*size, seed=sum(size))
    whole = transforms.Resize(256)(picture)
    crops = transforms.TenCrop(224)(whole)
    top_left, top_right, bottom_left, bottom_right, centre, *mirrored = (np.asarray(crop) for crop in crops)
    ours = shown(picture, Pass(256, 224, corners=True))
    np.testing.assert_array_equal(ours, [centre, top_left, top_right, bottom_left, bottom_right])
    # The compiled step mirrors each crop; torchvision crops the mirrored picture, whose left is the right.
    np.testing.assert_array_equal(ours[1:, :, ::-1], [mirrored[i] for i in (1, 0, 3, 2)])
    # The middle of an odd margin is rounded to the same side in both pictures: there the two are a column apart.
    if (whole.width - 224) % 2 == 0:
        np.testing.assert_array_equal(ours[0, :, ::-1], mirrored[4])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_whole_picture(size: tuple[int, int]) -> None:
    """At a multiple of 1 the whole picture is torchvision's Resize up to the rounding of its longer side."""
    picture = photo(*size, seed=sum(size))
    theirs = np.asarray(transforms.Resize(200)(picture))
    (ours,) = shown(picture, Pass(200, None))
    assert np.abs(np.subtract(ours.shape, theirs.shape)).max() <= 1
    if ours.shape == theirs.shape:
        np.testing.assert_array_equal(ours, theirs)


def test_grey_pictures() -> None:
    picture = photo(500, 375, seed=1).convert("L")
    theirs = transforms.CenterCrop(224)(transforms.Resize(256)(picture))
    (ours,) = shown(picture, Pass(256, 224), channels=1)
    np.testing.assert_array_equal(ours[:, :, 0], np.asarray(theirs))
