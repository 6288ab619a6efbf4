"""The gradient identity of He et al. 2016, Eq. 5, measured for each block.

If shortcuts are the identity and nothing follows the addition, the blocks of a stage compute x_L = x_l + sum_i F(x_i),
i = l .. L - 1. Here x_l is the input of block l, and x_L is the output of the stage. The gradient dL/dx of the loss is
then

    dL/dx_l = dL/dx_L + dL/dx_L d/dx_l sum_i F(x_i).

The first term comes through the shortcuts, without passing any weight. The second term comes through the residual
branches. F(x_i) is the output of the residual branch of block i, times the factors that the net applies to it.

One backward pass of the whole net gives dL/dx_l and dL/dx_L. The second term is the gradient of <dL/dx_L, sum_i F(x_i)>
with constant dL/dx_L. The remainder, dL/dx_l minus both terms, is zero if the identity holds. The measurement does not
assume that it holds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from resnet_jax.analysis.gradient_flow import mean_loss
from resnet_jax.analysis.modules import intercepted, preserved_blocks, train_mode
from resnet_jax.config import ModelConfig
from resnet_jax.models.blocks import Block
from resnet_jax.models.layers import Conv
from resnet_jax.models.resnet import ResNet
from resnet_jax.models.stacking import block_name


class Terms(NamedTuple):
    """The gradient of the mean loss at a block's input, and its two terms, [N, H, W, C] each."""

    gradient: Array
    """dL/dx_l, the gradient at the block's input."""
    carried: Array
    """dL/dx_L, the first term: the gradient at the output of the block's stage."""
    residual: Array
    """dL/dx_L d/dx_l sum_i F(x_i), the second term: the gradient through the residual branches."""


def identity_terms(model: ResNet, variables: Any, images: Array, labels: Array) -> dict[str, Terms]:
    """Computes the gradient at the input of each block, and its two terms, by block name in the order of computation.

    Blocks that change the shape of their input are left out.

    Args:
      model: net with `stages="unrolled"`.
      variables: variables of the model.
      images: [N, H, W, C], normalised. The net is in train mode, so the images affect each other through BN.
      labels: [N] int32.
    """
    stages = by_stage(preserved_blocks(model, variables, images))
    blocks = [name for members in stages for name in members]
    lasts = [members[-1] for members in stages]
    shapes = _input_shapes(model, variables, images, blocks)
    factors = residual_factors(model.config)
    zeros = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}

    def loss(at_inputs: Any, at_outputs: Any, variables: Any) -> Array:
        def shift(module: nn.Module, name: str, x: Array, call: Callable[[Array], Any]) -> Any:
            if name not in at_inputs:
                return call(x)
            y = call(x + at_inputs[name])
            return y + at_outputs[name] if name in at_outputs else y

        with intercepted(shift):
            return mean_loss(model, variables, images, labels)

    # sum_i <dL/dx_L, F(x_i)>; no gradient passes from one stage to another.
    def through_residuals(at_inputs: Any, carried: Any, variables: Any) -> Array:
        branches: dict[str, Array] = {}
        firsts = {members[0] for members in stages}

        def shift(module: nn.Module, name: str, x: Array, call: Callable[[Array], Any]) -> Any:
            if name in at_inputs:
                return call((jax.lax.stop_gradient(x) if name in firsts else x) + at_inputs[name])
            y, (block, _, layer) = call(x), name.partition("/")
            # F(x_i) is the output of the last convolution of the branch, or of the layer directly after it.
            follows = isinstance(module, Conv) or x is branches.get(block)
            if block in at_inputs and follows and not layer.startswith("shortcut"):
                branches[block] = y
            return y

        with intercepted(shift):
            train_mode(model, variables, images)
        parts = [
            factors[name] * jnp.vdot(carried[members[-1]], branches[name]) for members in stages for name in members
        ]
        return jnp.stack(parts).sum()

    @jax.jit
    def both(variables: Any) -> tuple[Any, Any, Any]:
        ends = {name: zeros[name] for name in lasts}
        gradients, carried = jax.grad(loss, (0, 1))(zeros, ends, variables)
        return gradients, carried, jax.grad(through_residuals)(zeros, carried, variables)

    gradients, carried, residual = both(variables)
    ends = {name: members[-1] for members in stages for name in members}
    return {name: Terms(gradients[name], carried[ends[name]], residual[name]) for name in blocks}


def residual_factors(config: ModelConfig) -> dict[str, float]:
    """The expected factor of each residual branch, by block name: `residual_scale` times the survival probability."""
    numbered = enumerate(config.blocks, start=1)
    # The net computes survival probabilities in float32.
    return {block_name(*at): config.residual_scale * float(np.float32(config.survival_of(i))) for i, at in numbered}


def by_stage(blocks: list[str]) -> list[list[str]]:
    """Groups the names of blocks by stage, and keeps their order."""
    stages: dict[str, list[str]] = {}
    for name in blocks:
        stages.setdefault(name.partition("_")[0], []).append(name)
    return list(stages.values())


def _input_shapes(model: ResNet, variables: Any, images: Any, blocks: list[str]) -> dict[str, jax.ShapeDtypeStruct]:
    shapes: dict[str, jax.ShapeDtypeStruct] = {}

    def note(module: nn.Module, name: str, x: Array, call: Callable[[Array], Any]) -> Any:
        if isinstance(module, Block) and name in blocks:
            shapes[name] = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return call(x)

    with intercepted(note):
        jax.eval_shape(lambda v, x: train_mode(model, v, x)[0], variables, images)
    return shapes
