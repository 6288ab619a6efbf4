"""Statistics of training images, against NumPy; those of streamed images are measured once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnet_jax.config import DataConfig
from resnet_jax.data import ArraySource, decode, load, normalization
from resnet_jax.data.statistics import Normalization
from tests.data.pictures import streamed, write

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), np.uint8)
SOURCE = ArraySource(PIXELS, np.zeros(50, np.int32))


pytestmark = pytest.mark.usefixtures("cache_home")


@pytest.mark.parametrize("normalize", ["pixel_mean", "channel_mean_std"])
def test_components_of_colour_are_the_eigenvectors_of_the_covariance(normalize: Any) -> None:
    found = normalization(SOURCE, DataConfig(normalize=normalize, color_noise=0.1)).colors
    assert found is not None
    covariance = np.cov(PIXELS.reshape(-1, 3).T / 255.0, bias=True)
    lengths = np.linalg.norm(found, axis=0)
    assert (np.diff(lengths) <= 0).all()
    np.testing.assert_allclose(covariance @ found, found * lengths, atol=1e-12)
    np.testing.assert_allclose(lengths.sum(), np.trace(covariance), rtol=1e-12)


def test_there_are_none_where_no_noise_is_added() -> None:
    assert normalization(SOURCE, DataConfig()).colors is None


def test_a_mean_image_becomes_a_mean_colour_for_other_sizes() -> None:
    stats = normalization(SOURCE, DataConfig())
    assert stats.for_size(6, 5) is stats
    np.testing.assert_allclose(stats.for_size(9, 9).mean, PIXELS.mean(axis=(0, 1, 2)).reshape(1, 1, 1, 3) / 255)
    by_channel = Normalization(np.zeros((1, 1, 1, 3)), np.ones((1, 1, 1, 3)))
    assert by_channel.for_size(9, 9) is by_channel


def test_streamed_images_are_measured_once(tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = streamed(write(tmp_path / "pictures"), color_noise=0.1, statistics_images=5)
    source = load(config).train
    index = np.array([0, 3, 6, 8, 11])  # evenly spread over 12: 0, 2.75, 5.5, 8.25, 11, rounded
    index[1:3] = np.rint([2.75, 5.5])
    pixels = source.take(index) / 255.0
    told: list[str] = []
    first = normalization(source, config, told.append)
    assert any("measuring the colours of training images: 5 images" in line for line in told)
    np.testing.assert_allclose(first.mean, pixels.mean(axis=(0, 1, 2), keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(first.std, pixels.std(axis=(0, 1, 2), keepdims=True), rtol=1e-10)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("an image was decoded")

    with monkeypatch.context() as patch:
        patch.setattr(decode, "views", refuse)
        second = normalization(load(config).train, config)
        for name in ("mean", "std", "colors"):
            np.testing.assert_array_equal(getattr(second, name), getattr(first, name))
    (file,) = cache_home.glob("colours-statistics-*")
    file.write_bytes(file.read_bytes()[:-40])
    again = normalization(load(config).train, config)
    np.testing.assert_array_equal(again.mean, first.mean)


def bitmaps(root: Path, value: int) -> DataConfig:
    """A folder of BMP files of one colour; names, sizes and labels are those of every other such folder."""
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 24), (value, value, value)).save(root / name / "0.bmp")
    return streamed(root, statistics_images=2)


def test_equal_names_and_sizes_do_not_hide_other_pixels(tmp_path: Path) -> None:
    """Neither in another folder, nor in the same one written anew."""
    for root, value in ((tmp_path / "one", 20), (tmp_path / "other", 230), (tmp_path / "one", 120)):
        config = bitmaps(root, value)
        found = normalization(load(config).train, config)
        np.testing.assert_allclose(found.mean, value / 255, rtol=1e-12)
