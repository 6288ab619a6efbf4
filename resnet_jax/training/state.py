"""The training state: all values that training changes, as one pytree."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from resnet_jax.files import short_digest
from resnet_jax.models.resnet import ResNet
from resnet_jax.types import Tree


class TrainState(flax.struct.PyTreeNode):
    """All values that a train step changes. Random keys are not stored: they derive from the seed and `step`."""

    step: Array
    """Number of completed steps, int32 scalar."""
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
    """Makes the state before the first step, for images of `image_shape` (height, width, channels)."""
    variables = initial_variables(model, key, image_shape)
    params = variables["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, variables["batch_stats"], optimizer.init(params))


def initial_variables(model: ResNet, key: Array, image_shape: tuple[int, int, int]) -> dict[str, Tree]:
    """The initial variables of a net, {"params": ..., "batch_stats": ...}; `image_shape` is height, width, channels."""
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.dtype(model.config.dtype))
    # `lazy_init` doesn't compute the forward pass. It is not jitted, because random draws are slow to compile: without
    # jit, a process compiles each operation only once.
    variables: Any = model.lazy_init(key, images, train=False)
    found: dict[str, Tree] = variables
    return found


def count_parameters(params: Tree) -> int:
    """The number of trainable scalars in `params`."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def fingerprint(params: Tree) -> str:
    """A digest of parameters: SHA-256 over all leaves in the order of their names, cut to 16 hexadecimal digits."""
    return short_digest(*(np.ascontiguousarray(leaf).data for leaf in jax.tree.leaves(params)))
