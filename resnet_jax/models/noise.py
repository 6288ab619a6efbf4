"""Random numbers of a training step, for stochastic depth and dropout.

They depend only on a key of the run, the step, and the example's epoch and position in the training set. So they are
the same for any number of devices, under jit, shard_map and pmap, with accumulation, with remat, in scanned stages, and
after a run was resumed.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Noise(NamedTuple):
    """The random keys of a training step, or of one block in this step."""

    batch: Array
    """One key for the whole batch."""
    images: Array
    """[N], a key for each image."""

    def of_block(self, number: Array | int) -> Noise:
        """Derives the keys of a block from the keys of a step; `number` counts the blocks of the net from 1."""
        return Noise(
            jax.random.fold_in(self.batch, number), jax.vmap(jax.random.fold_in, (0, None))(self.images, number)
        )


def noise(key: Array, step: Array, epoch: Array, example: Array) -> Noise:
    """Derives the random keys of a training step.

    Args:
      key: the run's key for noise.
      step: number of the step, from 0; int32 scalar.
      epoch: [N] int32, the epoch of each image.
      example: [N] int32, positions in the training set.
    """
    batch, images = jax.random.split(jax.random.fold_in(key, step))

    def of_image(epoch: Array, example: Array) -> Array:
        return jax.random.fold_in(jax.random.fold_in(images, epoch), example)

    return Noise(batch, jax.vmap(of_image)(epoch, example))


def dropout(x: Array, rate: float, noise: Noise | None) -> Array:
    """Sets each number of x [N, ...] to zero with probability `rate`. If `noise` is None, returns (1 - rate) * x.

    Numbers that are kept are not scaled up in training. Instead, the scale (1 - rate) is used in evaluation, as in the
    dropout of Hinton et al. 2012 (arXiv 1207.0580). He et al. 2016, Sec. 3.1, use this dropout, and write that dropout
    with rate 0.5 "imposes a scale with an expectation of 0.5 on the shortcut".
    """
    if noise is None:
        return x * (1.0 - rate)

    def kept(key: Array) -> Array:
        return jax.random.uniform(key, x.shape[1:], jnp.float32) >= rate

    return jnp.where(jax.vmap(kept)(noise.images), x, jnp.zeros_like(x))


def survive(residual: Array, survival: Array, noise: Noise | None) -> Array:
    """Stochastic depth: returns the residual with probability `survival`, otherwise zeros, for the whole batch.

    If `noise` is None, it returns the expectation, survival * residual (Huang et al. 2016, Eq. 2 and 5). Departs from
    the paper: a residual that is not used is computed nevertheless. So no time is saved, and the running statistics of
    its BNs are updated.

    Args:
      residual: [N, H, W, C].
      survival: float32 scalar, the probability that the residual is used.
      noise: random keys of the block.
    """
    if noise is None:
        return residual * survival.astype(residual.dtype)
    takes_part = jax.random.uniform(noise.batch, (), jnp.float32) < survival
    return jnp.where(takes_part, residual, jnp.zeros_like(residual))
