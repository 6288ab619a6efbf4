"""The paths through a residual net, and the gradient of the paths of each length (Veit et al. 2016, Fig. 6).

With every block x + F(x), a net of n blocks is a sum over 2^n paths: each block is passed either by its shortcut or by
its residual branch. The number of branches on a path is its length, so lengths are binomial. The gradient with respect
to the first block's input is a sum over the same paths. The gradient of one path is computed by a backward pass that
uses only one of the two ways in each block; the forward pass is not changed. The paper's estimate for one length is the
mean norm of random paths of that length, times the number of such paths.

Departs from the paper: BN is in eval mode, so that each image has its own gradient.
"""

from __future__ import annotations

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
"""The order of activations in which the first layer of every residual branch takes the block's input as it is."""


def path_gradient(model: ResNet, variables: Any, images: Array, labels: Array, through: Array | None) -> Array:
    """The gradient of each image's loss with respect to the first block's input along one path, [N, H, W, C].

    Args:
      model: net that is not scanned, with a shortcut on every block, and in the original order of activations.
      variables: variables of the model.
      images: [N, H, W, C], normalised.
      labels: [N] int32.
      through: [blocks] of 0 and 1 in the order of computation: 1 if the path takes the residual branch, 0 if it takes
        the shortcut; None: all paths together, the whole gradient.
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
                # The values are equal, but the gradient passes only one of them.
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
    """Returns x, and multiplies its gradient by `share`."""
    return share * x + (1.0 - share) * jax.lax.stop_gradient(x)


def paths_of_length(blocks: int) -> list[int]:
    """The number of paths of each length, from 0 to `blocks`, in a net of `blocks` blocks."""
    return [math.comb(blocks, length) for length in range(blocks + 1)]


def check(config: ModelConfig) -> None:
    """Raises UserError if a net is not a sum over paths, or its branches cannot be separated from its shortcuts."""
    if config.is_plain or config.cut:
        what = "model.shortcut='none'" if config.is_plain else f"model.cut={list(config.cut)}"
        raise UserError(f"nets: got {what}; legal here: nets with a shortcut on every block.")
    if config.activation_order != ORDER:
        raise UserError(f"nets: got model.activation_order={config.activation_order!r}; legal here: {ORDER!r}.")
