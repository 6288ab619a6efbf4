"""Paths through a residual net, and the gradient along paths of each length (Veit et al. 2016, Fig. 6).

If every block computes x + F(x), a net of n blocks is a sum over 2^n paths. In each block, a path takes either the
shortcut or the residual branch. The length of a path is its number of residual branches, so the lengths have a binomial
distribution.

The gradient with respect to the first block's input is a sum over the same paths. To compute the gradient of one path,
the backward pass of each block goes only through the branch that the path takes. The forward pass is not changed. To
estimate the gradient of all paths of one length, the paper multiplies the mean norm over random paths by the number of
paths.

Departs from the paper: BN is in eval mode, so that the gradient of an image does not depend on other images.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from resnet_jax.analysis.modules import eval_mode, intercepted
from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.models.blocks import Block
from resnet_jax.models.resnet import ResNet
from resnet_jax.models.stacking import block_name
from resnet_jax.training.losses import cross_entropy

ORDER = "original"
"""The only legal order of activations: the first layer of every residual branch takes the block's input unchanged."""


def path_gradient(model: ResNet, variables: Any, images: Array, labels: Array, through: Array | None) -> Array:
    """The gradient of each image's loss with respect to the first block's input, along one path, [N, H, W, C].

    Args:
      model: net with `stages="unrolled"`, a shortcut on every block, and the original order of activations.
      variables: variables of the model.
      images: [N, H, W, C], normalised.
      labels: [N] int32.
      through: [blocks], in the order of computation: 1 if the path takes the residual branch, 0 if it takes the
        shortcut. None: the whole gradient, which is the sum over all paths.
    """
    places = {block_name(*block): place for place, block in enumerate(model.config.blocks)}

    def loss(shift: Array | None) -> tuple[Array, Array]:
        inputs: dict[str, tuple[Array, Array]] = {}
        first: list[Array] = []

        def guide(module: nn.Module, name: str, x: Array, call: Callable[[Array], Any]) -> Any:
            block = name.partition("/")[0]
            if isinstance(module, Block):
                if not first:
                    first.append(x)
                    x = x if shift is None else x + shift
                if through is None:
                    return call(x)
                way = through[places[name]].astype(x.dtype)
                # Both have the values of x, but only one of them passes the gradient on.
                outer = _let_through(x, 1.0 - way)
                inputs[name] = (outer, _let_through(x, way))
                return call(outer)
            if block in inputs and x is inputs[block][0] and not name.partition("/")[2].startswith("shortcut"):
                return call(inputs[block][1])
            return call(x)

        with intercepted(guide):
            logits = eval_mode(model, variables, images)
        return cross_entropy(logits, labels).sum(), first[0]

    stem = jax.eval_shape(lambda: loss(None)[1])
    gradient: Array = jax.grad(lambda shift: loss(shift)[0])(jnp.zeros(stem.shape, stem.dtype))
    return gradient


def _let_through(x: Array, share: Array) -> Array:
    return share * x + (1.0 - share) * jax.lax.stop_gradient(x)


def paths_of_length(blocks: int) -> list[int]:
    """The number of paths of each length, from 0 to `blocks`, in a net of `blocks` blocks."""
    return [math.comb(blocks, length) for length in range(blocks + 1)]


def check(config: ModelConfig) -> None:
    """Checks that a net is a sum over paths, and that its residual branches can be separated from its shortcuts.

    Raises:
      UserError: a block has no shortcut, or the order of activations is not the original one.
    """
    if config.is_plain or config.cut:
        what = "model.shortcut='none'" if config.is_plain else f"model.cut={list(config.cut)}"
        raise UserError(f"nets: got {what}; legal here: nets with a shortcut on every block.")
    if config.activation_order != ORDER:
        raise UserError(f"nets: got model.activation_order={config.activation_order!r}; legal here: {ORDER!r}.")
