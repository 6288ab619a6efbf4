"""Computes the net's input from stored pixels, inside the compiled step: change colours, normalise, pad, crop, flip.

He et al. 2015, Sec. 4.2: "4 pixels are padded on each side, and a 32x32 crop is randomly sampled from the padded
image or its horizontal flip". Images are normalised before they are padded, so padding with zeros adds the mean colour.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from resnet_jax.config import DataConfig
from resnet_jax.data.color import recolor
from resnet_jax.data.statistics import Normalization


def normalize(images: Array, mean: Array, std: Array) -> Array:
    """Normalises images: [N, H, W, C] uint8 -> (images / 255 - mean) / std, [N, H, W, C] in the dtype of `mean`.

    `mean` and `std` come from data.Normalization: [1, H, W, C] or [1, 1, 1, C].
    """
    return (images.astype(mean.dtype) / 255.0 - mean) / std


def example_key(key: Array, epoch: Array, index: Array) -> Array:
    """Derives the random key of an example in an epoch (`index` and `epoch`, int32 scalars) from the run's `key`."""
    return jax.random.fold_in(jax.random.fold_in(key, epoch), index)


def draw(key: Array, epoch: Array, index: Array, *, pad: int) -> tuple[Array, Array]:
    """Draws a random crop and flip for each example.

    They depend only on the key and on the example's epoch and index, and not on the batch, the device or the process.

    Args:
      key: the run's augmentation key.
      epoch, index: [N] int32, the epoch of each example and its position in the training set.
      pad: pixels of padding on each side.

    Returns:
      offsets: [N, 2] int32, from 0 to 2 * pad: row and column of the crop's top left corner in the padded image.
      flips: [N] bool, whether the image is mirrored.
    """

    def one(epoch: Array, index: Array) -> tuple[Array, Array]:
        crop_key, flip_key = jax.random.split(example_key(key, epoch, index))
        return jax.random.randint(crop_key, (2,), 0, 2 * pad + 1), jax.random.bernoulli(flip_key)

    return jax.vmap(one)(epoch, index)


def pad_crop_flip(images: Array, offsets: Array, flips: Array, *, pad: int) -> Array:
    """Pads images [N, H, W, C] with `pad` zeros on each side, crops them to [N, H, W, C], and mirrors some of them.

    Args:
      images: [N, H, W, C], normalised.
      offsets: [N, 2] int32, the row and the column of each crop in the padded image.
      flips: [N] bool, whether the image is mirrored.
      pad: pixels of padding on each side.
    """
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))

    def one(image: Array, offset: Array, flip: Array) -> Array:
        crop: Array = jax.lax.dynamic_slice(image, (offset[0], offset[1], jnp.zeros_like(offset[0])), images.shape[1:])
        return jnp.where(flip, crop[:, ::-1, :], crop)

    return jax.vmap(one)(padded, offsets, flips)


def training_inputs(
    images: Array, key: Array, epoch: Array, index: Array, *, stats: Normalization, data: DataConfig, dtype: Any
) -> Array:
    """Normalises and augments training images.

    Args:
      images: [N, H, W, C] uint8.
      key: the run's augmentation key.
      epoch: [N] int32, the epoch of each image.
      index: [N] int32, positions in the training set.
      stats: the run's normalisation.
      data: settings of padding, flips and changes of colour.
      dtype: dtype of the result.

    Returns:
      [N, H, W, C], the input of the net.
    """
    mean, std = jnp.asarray(stats.mean, dtype), jnp.asarray(stats.std, dtype)
    if data.jitter == data.color_noise == 0.0:
        normalized = normalize(images, mean, std)
    else:
        shades = recolor(
            images.astype(dtype) / 255.0,
            jax.vmap(example_key, (None, 0, 0))(key, epoch, index),
            jitter=data.jitter,
            noise=data.color_noise,
            components=None if stats.colors is None else jnp.asarray(stats.colors, dtype),
        )
        normalized = (shades - mean) / std
    return augment(normalized, key, epoch, index, pad=data.pad, flip=data.flip)


def augment(images: Array, key: Array, epoch: Array, index: Array, *, pad: int, flip: bool) -> Array:
    """Pads, crops and (if `flip`) mirrors normalised images [N, H, W, C] at random; see `draw` for the arguments."""
    if not pad and not flip:
        return images
    offsets, flips = draw(key, epoch, index, pad=pad)
    return pad_crop_flip(images, offsets, flips if flip else jnp.zeros_like(flips), pad=pad)
