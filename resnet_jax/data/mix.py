"""Mixup and CutMix of training images, inside the compiled step.

Mixup (H. Zhang et al. 2018, arXiv 1710.09412, Eq. 1) blends two images. CutMix (Yun et al. 2019, arXiv 1905.04899,
Eq. 1 and 2) pastes a box of one image into the other. Labels are mixed with the same weights as the pixels.

Images are mixed in pairs: images 0 and 1 of the batch, images 2 and 3, and so on. The pairs are random, because the
batch is in random order. The weight or box of an image depends only on the run's key, the image's epoch and its
position in the training set. So it is the same for any number of devices. Both images of a pair must be on one device.
Departs from both papers: there, all images of a batch have the same weight or box.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# Replaces the epoch when the key is derived. No epoch has this number, so no other random numbers use the same key.
MIX = 2**32 - 2


class Mix(NamedTuple):
    """How each image of a batch is mixed with the other image of its pair."""

    weight: Array
    """[N], weight of the image's own pixels outside the box; the other image's is 1 - weight. 1 for CutMix."""
    box: Array
    """[N, 4] int32: first row, end row, first column and end column of the box that the other image fills; empty for
    mixup."""
    share: Array
    """[N], weight of the image's own label."""


def draw(
    key: Array, epoch: Array, index: Array, *, size: tuple[int, int], mixup: float, cutmix: float, dtype: jnp.dtype
) -> Mix:
    """Draws a weight (mixup) or a box (CutMix) for each image.

    The weight or box of an image depends only on the key and on the image's epoch and index.

    Args:
      key: the run's augmentation key.
      epoch, index: [N] int32, the epoch of each image and its position in the training set.
      size: height and width of the images in pixels.
      mixup, cutmix: the parameters of the Beta distributions; 0: off. At least one is above 0.
      dtype: dtype of `Mix.weight` and `Mix.share`.
    """
    height, width = size

    def one(epoch: Array, index: Array) -> Mix:
        own = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, MIX), epoch), index)
        beta_key, kind_key, row_key, column_key = jax.random.split(own, 4)
        cuts = jax.random.bernoulli(kind_key) if mixup and cutmix else jnp.asarray(cutmix > 0.0)
        alpha = jnp.where(cuts, jnp.asarray(cutmix, dtype), jnp.asarray(mixup, dtype))
        weight = jax.random.beta(beta_key, alpha, alpha, dtype=dtype)
        # As in the code of CutMix's authors: the centre may be anywhere, and the box is clipped at the border.
        root = jnp.sqrt(jnp.ones((), dtype) - weight)
        ends = []
        for centre_key, length in ((row_key, height), (column_key, width)):
            half = (root * length).astype(jnp.int32) // 2
            centre = jax.random.randint(centre_key, (), 0, length, jnp.int32)
            ends += [jnp.clip(centre - half, 0, length), jnp.clip(centre + half, 0, length)]
        box = jnp.where(cuts, jnp.stack(ends), jnp.zeros(4, jnp.int32))
        pasted = ((box[1] - box[0]) * (box[3] - box[2])).astype(dtype) / (height * width)
        ones = jnp.ones((), dtype)
        return Mix(jnp.where(cuts, ones, weight), box, jnp.where(cuts, ones - pasted, weight))

    return jax.vmap(one)(epoch, index)


def partners(values: Array) -> Array:
    """Swaps the values of the two examples of each pair: [N, ...] -> [N, ...]; N is even."""
    pairs = values.reshape(-1, 2, *values.shape[1:])
    return pairs[:, ::-1].reshape(values.shape)


def blend(images: Array, mix: Mix) -> Array:
    """Mixes each normalised image with the other image of its pair: [N, H, W, C] -> [N, H, W, C]."""
    rows, columns = (jnp.arange(length, dtype=jnp.int32) for length in images.shape[1:3])

    def one(image: Array, partner: Array, weight: Array, box: Array) -> Array:
        inside = ((rows >= box[0]) & (rows < box[1]))[:, None] & ((columns >= box[2]) & (columns < box[3]))[None, :]
        blended = weight * image + (jnp.ones_like(weight) - weight) * partner
        return jnp.where(inside[:, :, None], partner, blended)

    return jax.vmap(one)(images, partners(images), mix.weight, mix.box)
