"""Computes the norm of each layer's gradient in a train step, and finds the layers' names for gradients.jsonl."""

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
    """Replaces each leaf of the gradients by its Euclidean norm, a scalar.

    If `model` stacks B blocks for a scan, each leaf of these blocks has one norm per block, [B].
    """
    stacked = {rest_name(stage) for stage in stacked_stages(model.config)} if model.scanned else set()
    return {name: jax.tree.map(jax.vmap(_norm) if name in stacked else _norm, part) for name, part in grads.items()}


def by_layer(norms: Tree, config: ModelConfig, image_shape: tuple[int, int, int]) -> dict[str, float]:
    """The gradient norm of each layer's kernel, by the layer's name, in the order of the forward pass.

    `norms` is the result of `gradient_norms`, on the host, with one subtree for each block. `image_shape` is height,
    width, channels. `config.num_classes` must be set.
    """
    flat = flax.traverse_util.flatten_dict(norms, sep="/")
    names = [row.name for row in cost.layers(config, image_shape)]
    return {name: float(flat[f"{name}/{KERNEL}"]) for name in names if f"{name}/{KERNEL}" in flat}


def _norm(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(x)))
