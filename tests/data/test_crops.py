"""Geometry of crops, against Pillow's own order of work, hand-computed numbers and the stated distributions."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnet_jax.config import DataConfig
from resnet_jax.data import crops, decode
from resnet_jax.data.crops import Crop, Pass
from tests.data.pictures import photo


def config(**changes: Any) -> DataConfig:
    """The paper's crops, He et al. 2015, Sec. 3.4."""
    settings: dict[str, Any] = {"image_size": 224, "crop": "scale", **changes}
    return DataConfig(source="folder", path="pictures", stream=True, **settings)


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (260, 250), (120, 640), (1200, 900)])
def test_cropping_first_is_resizing_first_within_two_grey_levels(size: tuple[int, int]) -> None:
    """Both orders filter the same pixels with the same weights; they differ by where 8 bits are rounded to."""
    image = photo(*size, seed=size[0])
    content, most, total = encoded(image), 0, 0.0
    for index in range(8):
        draw = crops.training_crop(config(), 0, 0, index, *size)
        found = decode.crop(content, lambda width, height, draw=draw: draw, channels=3).astype(int)
        # The same crop, the other way round: the scale and the corner follow from the box.
        across = (draw.box[2] - draw.box[0]) / 224
        wide, tall = round(size[0] / across), round(size[1] / ((draw.box[3] - draw.box[1]) / 224))
        left, top = round(draw.box[0] / size[0] * wide), round(draw.box[1] / size[1] * tall)
        whole = image.resize((wide, tall), Image.Resampling.BILINEAR)
        assert 256 <= min(whole.size) <= 480
        expected = np.asarray(whole.crop((left, top, left + 224, top + 224))).astype(int)
        most = max(most, int(np.abs(found - expected).max()))
        total += float(np.abs(found - expected).mean()) / 8
    assert most <= 2
    assert total < 0.2  # of 256; most where a small image is enlarged


def test_scales_and_corners_are_uniform() -> None:
    """4,000 draws: the shorter side's mean is within 5 standard errors of (256 + 480) / 2, its ends are reached."""
    found = [crops.training_crop(config(), 7, 0, i, 400, 300) for i in range(4000)]
    sides = np.array([224 * 300 / (crop.box[3] - crop.box[1]) for crop in found])
    assert sides.min() >= 256 - 1e-9
    assert sides.max() <= 480 + 1e-9
    assert (round(sides.min()), round(sides.max())) == (256, 480)
    assert abs(sides.mean() - 368) < 5 * np.sqrt((225**2 - 1) / 12 / 4000)
    for low, high, length in ((0, 2, 400), (1, 3, 300)):
        ends = np.array([crop.box[low] for crop in found]) / np.array(
            [length - (crop.box[high] - crop.box[low]) for crop in found]
        )
        assert abs(ends.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 4000)
        assert (ends >= 0).all()
        assert (ends <= 1 + 1e-9).all()


def test_areas_and_aspects_are_as_stated() -> None:
    """torchvision's RandomResizedCrop: area uniform in [0.08, 1], logarithm of the aspect in [3/4, 4/3]'s."""
    boxes = [crops.training_crop(config(crop="area"), 3, 0, i, 640, 640).box for i in range(4000)]
    wide = np.array([right - left for left, _, right, _ in boxes])
    tall = np.array([bottom - top for _, top, _, bottom in boxes])
    shares, aspects = wide * tall / 640**2, wide / tall
    assert 0.079 < shares.min() < 0.09
    assert 0.74 < aspects.min() < 0.76
    assert 1.32 < aspects.max() < 1.35
    # Areas near 1 often do not fit, and are drawn again: below a half they are uniform.
    low = shares[shares < 0.5]
    assert abs(low.mean() - 0.29) < 5 * np.sqrt(0.42**2 / 12 / len(low))


@pytest.mark.parametrize("size", [(40, 1000), (1000, 40)])
def test_where_no_rectangle_fits_the_middle_is_taken(size: tuple[int, int]) -> None:
    crop = crops.training_crop(config(crop="area", areas=(1.0, 1.0)), 0, 0, 0, *size)
    left, top, right, bottom = crop.box
    assert (right - left) / (bottom - top) == pytest.approx(0.75 if size[0] < size[1] else 4 / 3, rel=0.02)
    assert abs(left - (size[0] - right)) <= 1
    assert abs(top - (size[1] - bottom)) <= 1


def test_a_crop_depends_on_each_of_its_arguments() -> None:
    base = (1, 2, 3, 500, 375)
    changed = [tuple(value + (i == j) for j, value in enumerate(base)) for i in range(5)]
    found: set[Crop] = {crops.training_crop(config(), *arguments) for arguments in (base, *changed)}
    assert len(found) == 6


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (257, 256), (91, 500)])
def test_the_centre_crop_is_torchvisions(size: tuple[int, int]) -> None:
    """torchvision 0.29, functional.resize and center_crop on PIL images, their formulas written out."""
    image = photo(*size, seed=1)
    short, long = sorted(size)
    new_long = int(256 * long / short)
    new = (256, new_long) if size[0] <= size[1] else (new_long, 256)
    whole = image.resize(new, Image.Resampling.BILINEAR)
    top, left = int(round((new[1] - 224) / 2.0)), int(round((new[0] - 224) / 2.0))  # noqa: RUF046  # as it is there
    expected = np.asarray(whole.crop((left, top, left + 224, top + 224)))
    (found,) = decode.views(encoded(image), Pass(256, 224), channels=3, multiple=32)
    np.testing.assert_array_equal(found, expected)
