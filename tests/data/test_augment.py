"""Normalisation and augmentation against NumPy; an example's draw depends on nothing but itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import DataConfig
from resnet_jax.data import ArraySource, normalization
from resnet_jax.data.augment import augment, draw, normalize, pad_crop_flip

IMAGES = np.random.default_rng(0).integers(0, 256, size=(6, 8, 10, 3), dtype=np.uint8)


def source(images: np.ndarray) -> ArraySource:
    return ArraySource(images, np.zeros(len(images), np.int32))


def test_pixel_mean_is_the_mean_image_and_no_scale() -> None:
    stats = normalization(source(IMAGES), DataConfig(normalize="pixel_mean"))
    out = normalize(jnp.asarray(IMAGES), jnp.asarray(stats.mean, jnp.float32), jnp.asarray(stats.std, jnp.float32))
    expected = IMAGES / 255.0 - IMAGES.mean(axis=0) / 255.0
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_channel_mean_and_std_standardise_each_channel() -> None:
    stats = normalization(source(IMAGES), DataConfig(normalize="channel_mean_std"))
    out = np.asarray(
        normalize(jnp.asarray(IMAGES), jnp.asarray(stats.mean, jnp.float32), jnp.asarray(stats.std, jnp.float32))
    )
    np.testing.assert_allclose(out.mean(axis=(0, 1, 2)), 0.0, atol=1e-6)
    np.testing.assert_allclose(out.std(axis=(0, 1, 2)), 1.0, atol=1e-6)


def test_a_constant_channel_is_left_unscaled() -> None:
    images = IMAGES.copy()
    images[..., 1] = 7
    assert normalization(source(images), DataConfig(normalize="channel_mean_std")).std[0, 0, 0, 1] == 1.0


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pad", [1, 2])
def test_every_crop_offset_and_flip(pad: int, flip: bool) -> None:
    offsets = np.array([(r, c) for r in range(2 * pad + 1) for c in range(2 * pad + 1)], np.int32)
    images = np.random.default_rng(1).normal(size=(len(offsets), 5, 6, 2)).astype(np.float32)
    out = pad_crop_flip(jnp.asarray(images), jnp.asarray(offsets), jnp.full(len(offsets), flip), pad=pad)
    for image, (row, column), got in zip(images, offsets, np.asarray(out), strict=True):
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        crop = padded[row : row + 5, column : column + 6]
        np.testing.assert_array_equal(got, crop[:, ::-1] if flip else crop)


def test_a_draw_depends_on_the_example_and_the_epoch_alone() -> None:
    key = jax.random.key(5)
    index, epoch = jnp.arange(64), jnp.full(64, 3)
    offsets, flips = draw(key, epoch, index, pad=4)
    order = jnp.asarray(np.random.default_rng(0).permutation(64))
    shuffled_offsets, shuffled_flips = draw(key, epoch, index[order], pad=4)
    np.testing.assert_array_equal(offsets[order], shuffled_offsets)
    np.testing.assert_array_equal(flips[order], shuffled_flips)
    other, _ = draw(key, epoch + 1, index, pad=4)
    assert not np.array_equal(offsets, other)


def test_draws_are_uniform() -> None:
    n, pad = 8100, 1
    offsets, flips = draw(jax.random.key(0), jnp.zeros(n, jnp.int32), jnp.arange(n), pad=pad)
    cells = np.bincount(np.asarray(offsets) @ np.array([3, 1]), minlength=9)
    # Nine cells of 900 each: five standard deviations.
    assert (np.abs(cells - n / 9) < 5 * np.sqrt(n * (1 / 9) * (8 / 9))).all()
    assert abs(float(flips.mean()) - 0.5) < 5 * 0.5 / np.sqrt(n)


def test_no_augmentation_is_the_identity() -> None:
    images = jnp.ones((2, 4, 4, 1))
    zero = jnp.zeros(2, jnp.int32)
    assert augment(images, jax.random.key(0), zero, zero, pad=0, flip=False) is images


def test_without_flips_no_image_is_mirrored() -> None:
    images = jnp.broadcast_to(jnp.arange(4.0).reshape(1, 1, 4, 1), (100, 4, 4, 1))
    index = jnp.arange(100)
    out = np.asarray(augment(images, jax.random.key(0), index * 0, index, pad=1, flip=False))
    assert (np.diff(out[:, 1, 1:3, 0], axis=1) == 1).all()  # left to right still rises
