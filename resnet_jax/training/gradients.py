"""Norms of the gradient in each layer: inside a train step, and by name for gradients.jsonl."""

from __future__ import annotations

import flax.traverse_util
import jax
import jax.numpy as jnp

from resnet_jax.config import ModelConfig
from resnet_jax.models import cost
from resnet_jax.models.resnet import ResNet
from resnet_jax.models.stacking import rest_name, stacked_stages
from resnet_jax.types import Tree

KERNEL = "kernel"


def gradient_norms(grads: Tree, model: ResNet) -> Tree:
    """The Euclidean norm of each leaf: scalars in the same structure.

    Args:
      grads: a tree with the structure of the net's parameters.
      model: the net. A leaf with B stacked blocks gets a norm for each, [B].
    """
    stacked = {rest_name(stage) for stage in stacked_stages(model.config)} if model.scanned else set()
    return {name: jax.tree.map(jax.vmap(_norm) if name in stacked else _norm, part) for name, part in grads.items()}


def by_layer(norms: Tree, config: ModelConfig, image_shape: tuple[int, int, int]) -> dict[str, float]:
    """The norms of kernels by the name of their layer, in the order of computation.

    Args:
      norms: on the host, block by block.
      config: the net's configuration, with `num_classes` set.
      image_shape: height, width, channels.
    """
    flat = flax.traverse_util.flatten_dict(norms, sep="/")
    names = [row.name for row in cost.layers(config, image_shape)]
    return {name: float(flat[f"{name}/{KERNEL}"]) for name in names if f"{name}/{KERNEL}" in flat}


def _norm(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(x)))
