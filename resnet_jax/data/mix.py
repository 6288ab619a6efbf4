"""Mixup and CutMix of training images, inside the compiled step.

Mixup (H. Zhang et al. 2018, arXiv 1710.09412, Eq. 1) blends two images. CutMix (Yun et al. 2019, arXiv 1905.04899,
Eq. 1 and 2) pastes a box of one into the other; labels are mixed by the same shares.

The partner of an image is its neighbour in the batch: 0 with 1, 2 with 3 and so on. The batch is in random order, so
the partner is random. The mixture of an image depends only on the run's key, its epoch and its position in the training
set. So the numbers of devices and processes do not change it, provided that both images of a pair are on the same
device. Departs from both papers: there a batch has one weight or box for all images.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# No epoch has this number, so these draws differ from those of crops, flips and the noise of the net.
MIX = 2**32 - 2


class Mix(NamedTuple):
    """The mixture of each image of a batch with its partner."""

    weight: Array
    """[N], weight of the image's own pixels outside the box; the partner has the rest. 1 with CutMix."""
    box: Array
    """[N, 4] int32: first row, end row, first column and end column of the box with the partner's pixels; empty with
    mixup."""
    share: Array
    """[N], share of the image's own label."""


def draw(
    key: Array, epoch: Array, index: Array, *, size: tuple[int, int], mixup: float, cutmix: float, dtype: jnp.dtype
) -> Mix:
    """The mixture of each image, which depends only on (key, its epoch, its index).

    Args:
      key: the run's augmentation key.
      epoch, index: [N] int32.
      size: height and width of the images.
      mixup, cutmix: the parameter of the Beta distribution; 0: off.
      dtype: dtype of weights and shares.
    """
    height, width = size

    def one(epoch: Array, index: Array) -> Mix:
        own = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, MIX), epoch), index)
        beta_key, kind_key, row_key, column_key = jax.random.split(own, 4)
        cuts = jax.random.bernoulli(kind_key) if mixup and cutmix else jnp.asarray(cutmix > 0.0)
        alpha = jnp.where(cuts, jnp.asarray(cutmix, dtype), jnp.asarray(mixup, dtype))
        weight = jax.random.beta(beta_key, alpha, alpha, dtype=dtype)
        # As in the authors' code, the centre may be anywhere, and the box ends at the border of the image.
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
    """The value of each example's partner: [N, ...] -> [N, ...]; N is even."""
    pairs = values.reshape(-1, 2, *values.shape[1:])
    return pairs[:, ::-1].reshape(values.shape)


def blend(images: Array, mix: Mix) -> Array:
    """Mixes each image with its partner: [N, H, W, C], normalised -> [N, H, W, C]."""
    rows, columns = (jnp.arange(length, dtype=jnp.int32) for length in images.shape[1:3])

    def one(image: Array, partner: Array, weight: Array, box: Array) -> Array:
        inside = ((rows >= box[0]) & (rows < box[1]))[:, None] & ((columns >= box[2]) & (columns < box[3]))[None, :]
        blended = weight * image + (jnp.ones_like(weight) - weight) * partner
        return jnp.where(inside[:, :, None], partner, blended)

    return jax.vmap(one)(images, partners(images), mix.weight, mix.box)
