"""Training images mixed with one another, inside the compiled step: mixup and CutMix. Pure; key in.

Mixup (H. Zhang et al. 2018, arXiv 1710.09412, Eq. 1) blends two images. CutMix (Yun et al. 2019, arXiv 1905.04899,
Eq. 1 and 2) pastes a box of one into the other; labels are mixed by the same shares.

An image's partner is its neighbour in the batch, 0 with 1, 2 with 3 and so on: the batch is in random order, so the
partner is a random image. How an image is mixed is drawn by itself, a function of the run's key, its epoch and its
place in the training set. So neither the number of devices nor that of processes changes a mixture, as long as no pair
is divided between two of them. Departs from both papers: there a batch has one weight or box for all its images.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# No epoch has this number, so the draws are none of those of crops and flips, nor of the net's own noise.
MIX = 2**32 - 2


class Mix(NamedTuple):
    """How each image of a batch is mixed with its partner."""

    weight: Array
    """[N], of the image's own pixels outside the box, the rest being the partner's; 1 with CutMix."""
    box: Array
    """[N, 4] int32: the rows and columns, from and to, in which all pixels are the partner's; empty with mixup."""
    share: Array
    """[N], of the image's own label."""


def draw(
    key: Array, epoch: Array, index: Array, *, size: tuple[int, int], mixup: float, cutmix: float, dtype: jnp.dtype
) -> Mix:
    """How each image is mixed, a function of (key, its epoch, its index) alone.

    Args:
      key: of the run's augmentation.
      epoch, index: [N] int32.
      size: height and width of the images.
      mixup, cutmix: the Beta distribution's parameter; 0: not this one.
      dtype: of weights and shares.
    """
    height, width = size

    def one(epoch: Array, index: Array) -> Mix:
        own = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, MIX), epoch), index)
        beta_key, kind_key, row_key, column_key = jax.random.split(own, 4)
        cuts = jax.random.bernoulli(kind_key) if mixup and cutmix else jnp.asarray(cutmix > 0.0)
        alpha = jnp.where(cuts, jnp.asarray(cutmix, dtype), jnp.asarray(mixup, dtype))
        weight = jax.random.beta(beta_key, alpha, alpha, dtype=dtype)
        # The box that the authors' code cuts: its centre lies anywhere, and what is outside the image is left out.
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
    """Each example's partner's value: [N, ...] -> [N, ...]; N is even."""
    pairs = values.reshape(-1, 2, *values.shape[1:])
    return pairs[:, ::-1].reshape(values.shape)


def blend(images: Array, mix: Mix) -> Array:
    """Each image mixed with its partner: [N, H, W, C], normalised -> [N, H, W, C]."""
    rows, columns = (jnp.arange(length, dtype=jnp.int32) for length in images.shape[1:3])

    def one(image: Array, partner: Array, weight: Array, box: Array) -> Array:
        inside = ((rows >= box[0]) & (rows < box[1]))[:, None] & ((columns >= box[2]) & (columns < box[3]))[None, :]
        blended = weight * image + (jnp.ones_like(weight) - weight) * partner
        return jnp.where(inside[:, :, None], partner, blended)

    return jax.vmap(one)(images, partners(images), mix.weight, mix.box)
