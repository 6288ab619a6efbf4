"""Random numbers of a train step, for stochastic depth and dropout. They are equal on any number of devices.

All derive from one key of the run, the step, and the example's epoch and position in the data. So they are also equal
under jit, shard_map and pmap, with accumulation, with remat, in scanned stages, and after a run was resumed.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Noise(NamedTuple):
    """The keys of a train step, or of one block in it."""

    batch: Array
    """One key for all images."""
    images: Array
    """[N]: a key for each image."""

    def of_block(self, number: Array | int) -> Noise:
        """The keys of a block, counted from 1."""
        return Noise(
            jax.random.fold_in(self.batch, number), jax.vmap(jax.random.fold_in, (0, None))(self.images, number)
        )


def noise(key: Array, step: Array, epoch: Array, example: Array) -> Noise:
    """The keys of a train step.

    Args:
      key: random key of the run's noise.
      step: steps done before, int32 scalar.
      epoch, example: [N] int32; an example occurs once in an epoch.
    """
    batch, images = jax.random.split(jax.random.fold_in(key, step))

    def of_image(epoch: Array, example: Array) -> Array:
        return jax.random.fold_in(jax.random.fold_in(images, epoch), example)

    return Noise(batch, jax.vmap(of_image)(epoch, example))


def dropout(x: Array, rate: float, noise: Noise | None) -> Array:
    """Sets each number of x [N, ...] to zero with probability `rate`; with `noise` None gives the expectation, (1 -
    rate) x.

    Numbers are not scaled up in training. He et al. 2016, Sec. 3.1, use the dropout of Hinton et al. 2012 (arXiv
    1207.0580), which scales at test time: it "imposes a scale with an expectation of 0.5 on the shortcut".
    """
    if noise is None:
        return x * (1.0 - rate)

    def kept(key: Array) -> Array:
        return jax.random.uniform(key, x.shape[1:], jnp.float32) >= rate

    return jnp.where(jax.vmap(kept)(noise.images), x, jnp.zeros_like(x))


def survive(residual: Array, survival: Array, noise: Noise | None) -> Array:
    """The residual, or zeros for the whole batch; with `noise` None, the expectation (Huang et al. 2016, Eq. 2 and 5).

    Departs from the paper: a residual that is not used is computed all the same. So it saves no time, and the running
    statistics of its BNs are updated.

    Args:
      residual: [N, H, W, C].
      survival: float32 scalar, the probability that the residual is used.
    """
    if noise is None:
        return residual * survival.astype(residual.dtype)
    takes_part = jax.random.uniform(noise.batch, (), jnp.float32) < survival
    return jnp.where(takes_part, residual, jnp.zeros_like(residual))
