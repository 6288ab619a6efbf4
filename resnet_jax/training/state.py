"""Everything that training changes, as one pytree."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from resnet_jax.files import short_digest
from resnet_jax.models.resnet import ResNet

Tree = Any  # a pytree of arrays


class TrainState(flax.struct.PyTreeNode):
    """The state between two steps. There is no other state: random keys derive from the seed and `step`."""

    step: Array
    """Number of steps, int32 scalar."""
    params: Tree
    batch_stats: Tree
    """Running mean and variance of every BN."""
    opt_state: optax.OptState


class AveragedState(TrainState):
    """The state of a run that keeps an average of its parameters."""

    average: Tree
    """{"params": ..., "batch_stats": ...}; see training/ema.py."""


def create(
    model: ResNet, optimizer: optax.GradientTransformation, key: Array, image_shape: tuple[int, int, int]
) -> TrainState:
    """The state before the first step.

    Args:
      key: random key for the initial values.
      image_shape: height, width, channels.
    """
    variables = initial_variables(model, key, image_shape)
    params = variables["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, variables["batch_stats"], optimizer.init(params))


def initial_variables(model: ResNet, key: Array, image_shape: tuple[int, int, int]) -> dict[str, Tree]:
    """A net's variables before the first step, {"params": ..., "batch_stats": ...}; arguments as for `create`."""
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.dtype(model.config.dtype))
    # Not compiled as one program, because random draws are slow to compile; op by op, each is compiled once in a
    # process. Lazily, so that the forward pass is not computed.
    variables: Any = model.lazy_init(key, images, train=False)
    found: dict[str, Tree] = variables
    return found


def count_parameters(params: Tree) -> int:
    """Number of trainable scalars."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def fingerprint(params: Tree) -> str:
    """SHA-256 over all leaves in the order of their names, shortened to 16 hexadecimal digits."""
    return short_digest(*(np.ascontiguousarray(leaf).data for leaf in jax.tree.leaves(params)))
