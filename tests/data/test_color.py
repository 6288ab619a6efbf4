"""Changes of colour, against NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import DataConfig
from resnet_jax.data.augment import example_key, training_inputs
from resnet_jax.data.color import COLORS, jittered, recolor
from resnet_jax.data.statistics import Normalization

IMAGES = np.random.default_rng(0).random((6, 5, 4, 3), np.float32)
KEYS = jax.random.split(jax.random.key(3), 6)


def test_colour_noise_is_krizhevskys_formula() -> None:
    """2012, Sec. 4.1: to every pixel [p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T is added, one draw of a for an image."""
    pixels = IMAGES.reshape(-1, 3).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(pixels.T, bias=True))
    components = jnp.asarray(vectors * values, jnp.float32)
    found = np.asarray(recolor(jnp.asarray(IMAGES), KEYS, jitter=0.0, noise=0.1, components=components))
    for image, shifted, key in zip(IMAGES, found, KEYS, strict=True):
        noise_key = jax.random.split(jax.random.fold_in(key, COLORS), 3)[2]
        alpha = 0.1 * np.asarray(jax.random.normal(noise_key, (3,)), np.float64)
        expected = sum(alpha[i] * values[i] * vectors[:, i] for i in range(3))
        np.testing.assert_allclose(shifted - image, np.broadcast_to(expected, image.shape), atol=1e-6)


def test_the_draws_of_colour_noise_have_the_stated_deviation() -> None:
    keys = jax.random.split(jax.random.key(0), 4000)
    images = jnp.zeros((4000, 1, 1, 3))
    found = np.asarray(recolor(images, keys, jitter=0.0, noise=0.1, components=jnp.eye(3))).reshape(-1, 3)
    np.testing.assert_allclose(found.std(axis=0), 0.1, rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(found.T), np.eye(3), atol=0.08)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_jitter_is_fb_resnet_torchs(order: tuple[int, int, int]) -> None:
    """datasets/transforms.lua: blend with black, with the mean grey, with the grey image, in a random order."""
    image, factors = IMAGES[0].astype(np.float64), np.array([0.7, 1.3, 0.8])
    expected = image
    for kind in order:
        grey = expected @ [0.299, 0.587, 0.114]
        other = [np.zeros_like(image), np.full_like(image, grey.mean()), np.repeat(grey[..., None], 3, axis=2)][kind]
        expected = factors[kind] * expected + (1 - factors[kind]) * other
    found = jittered(jnp.asarray(image, jnp.float32), jnp.asarray(order), jnp.asarray(factors, jnp.float32))
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-6)


def test_factors_and_orders_of_jitter_are_spread() -> None:
    keys = jax.random.split(jax.random.key(0), 500)
    images = jnp.full((500, 1, 1, 3), 0.5)  # grey: brightness alone changes it
    found = np.asarray(recolor(images, keys, jitter=0.4, noise=0.0, components=None))[:, 0, 0, 0] / 0.5
    assert 0.6 <= found.min() < 0.62
    assert 1.38 < found.max() <= 1.4


def inputs(index: Any, **changes: Any) -> np.ndarray:
    stats = Normalization(np.full((1, 1, 1, 3), 0.5), np.full((1, 1, 1, 3), 0.25), 0.01 * np.eye(3))
    data = DataConfig(**{"jitter": 0.4, "color_noise": 0.1, "flip": True, **changes})
    pixels = np.rint(IMAGES * 255).astype(np.uint8)[index]
    epoch = jnp.ones(len(pixels), jnp.int32)
    return np.asarray(
        training_inputs(
            jnp.asarray(pixels), jax.random.key(1), epoch, jnp.asarray(index), stats=stats, data=data, dtype=jnp.float32
        )
    )


def test_an_image_is_recoloured_alike_whatever_is_with_it() -> None:
    index = np.arange(6, dtype=np.int32)
    np.testing.assert_array_equal(inputs(index)[2:4], inputs(index[2:4]))


def test_flips_do_not_depend_on_colours() -> None:
    index = np.arange(6, dtype=np.int32)
    plain, coloured = inputs(index, jitter=0.0, color_noise=0.0), inputs(index)

    def falls(images: np.ndarray) -> np.ndarray:
        return (images[:, :, 0].mean(axis=(1, 2)) < images[:, :, -1].mean(axis=(1, 2))).astype(int)

    np.testing.assert_array_equal(falls(plain), falls(coloured))


def test_the_key_of_colours_is_no_other_key() -> None:
    key = example_key(jax.random.key(0), jnp.int32(1), jnp.int32(2))
    used = [jax.random.key_data(k).tolist() for k in (*jax.random.split(key), jax.random.fold_in(key, COLORS), key)]
    assert len({tuple(k) for k in used}) == 4
