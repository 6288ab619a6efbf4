"""Residual units: basic and bottleneck (He et al. 2015, Fig. 5).

A unit consists of convolutions, an order of BN and ReLU (models/orders.py) and a shortcut (models/shortcuts.py).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from resnet_jax.config import ModelConfig
from resnet_jax.models.layers import Gate, Scalar, relu, strided_identity
from resnet_jax.models.noise import Noise, dropout, survive
from resnet_jax.models.orders import ORDERS, Step
from resnet_jax.models.shortcuts import SHORTCUTS, projects


class Chance(NamedTuple):
    """The inputs of stochastic depth and dropout in a block."""

    survival: Array
    """Probability that the block's residual is used, a float32 scalar; only for stochastic depth."""
    noise: Noise | None
    """Random keys of the block; None: no random draws, expectations are used instead, as in eval mode."""


class Block(nn.Module):
    """A residual unit, or a unit of a plain net (shortcut "none").

    Submodules: conv1, norm1, conv2, norm2; conv3 and norm3 in bottleneck units; shortcut_conv, shortcut_norm,
    shortcut_gate and skip_init if the configuration needs them. The convolutions and their BNs have these names in
    plain nets too.
    """

    config: ModelConfig
    convs: tuple[tuple[int, int, int], ...]
    """The convolutions, as (output channels, kernel size, stride); see ModelConfig.convs."""
    shortcut: str
    """The name of the shortcut; "none": no shortcut."""
    conv: Any
    """Makes a convolution: conv(features=, kernel=, stride=, name=)."""
    norm: Any
    """Makes a batch norm: norm(name=, zero_scale=)."""
    preactivate: bool = True
    """For pre-activation orders: False if the stem already has the BN and ReLU that this unit would begin with."""
    share_preactivation: bool = False
    """For pre-activation orders: whether the shortcut starts after the first activation instead of before it."""

    @nn.compact
    def __call__(self, x: Array, chance: Chance | None = None, *, train: bool) -> Array:
        """Computes the unit: x [N, H, W, C] -> [N, ceil(H / s), ceil(W / s), C'] for the unit's stride s."""
        order, y, source, last = ORDERS[self.config.activation_order], x, x, len(self.convs)
        for i in range(1, last + 1):
            if i > 1 or self.preactivate:
                y = self._steps(order.before, i, y, train=train)
            # With pre-activation, a projection takes the activated input (2016, Appendix, and the authors' code).
            if i == 1 and (self.share_preactivation or self._projects(x)):
                source = y
            y = self._conv(i)(y)
            y = self._steps(order.after if i < last else order.last, i, y, train=train)
        paths = _Paths(self, source, self._weighed(y, chance), None if chance is None else chance.noise, train)
        return self._steps(order.joined, last, SHORTCUTS[self.shortcut].join(paths), train=train)

    @property
    def stride(self) -> int:
        """The unit's stride."""
        return max(stride for _, _, stride in self.convs)

    @property
    def features(self) -> int:
        """The unit's output channels."""
        return self.convs[-1][0]

    def _conv(self, i: int) -> nn.Module:
        features, kernel, stride = self.convs[i - 1]
        module: nn.Module = self.conv(features=features, kernel=kernel, stride=stride, name=f"conv{i}")
        return module

    def _steps(self, steps: tuple[Step, ...], i: int, y: Array, *, train: bool) -> Array:
        zero = self.config.zero_gamma and i == ORDERS[self.config.activation_order].last_norm(len(self.convs))
        for step in steps:
            y = relu(y) if step == "relu" else self.norm(name=f"norm{i}", zero_scale=zero)(y, train=train)
        return y

    def _weighed(self, residual: Array, chance: Chance | None) -> Array:
        c = self.config
        if c.skip_init is not None:
            residual = Scalar(c.skip_init, dtype=jnp.dtype(c.dtype), name="skip_init")(residual)
        if c.residual_scale != 1.0:
            residual = c.residual_scale * residual
        if c.survival < 1.0:
            assert chance is not None
            residual = survive(residual, chance.survival, chance.noise)
        return residual

    def _projects(self, x: Array) -> bool:
        changes = self.stride > 1 or x.shape[-1] != self.features
        return projects(self.shortcut, self.config.block_kind, shape_changes=changes)


@dataclass(frozen=True)
class _Paths:  # implements shortcuts.Paths
    block: Block
    x: Array
    residual: Array
    noise: Noise | None
    train: bool

    @property
    def config(self) -> ModelConfig:
        return self.block.config

    def skip(self) -> Array:
        block, features = self.block, self.block.features
        if not block._projects(self.x):
            return strided_identity(
                self.x, stride=block.stride, features=features, padding=self.config.shortcut_padding
            )
        y: Array = block.conv(features=features, kernel=1, stride=block.stride, name="shortcut_conv")(self.x)
        # A projection has its own BN, except with full pre-activation, where BN comes before convolutions.
        if ORDERS[self.config.activation_order].norm_first:
            return y
        normalised: Array = block.norm(name="shortcut_norm")(y, train=self.train)
        return normalised

    def gate(self) -> Array:
        block, dtype = self.block, jnp.dtype(self.config.dtype)
        gate = Gate(block.features, block.stride, self.config.gate_bias, dtype, name="shortcut_gate")
        g: Array = gate(self.x)
        return g

    def dropout(self, x: Array) -> Array:
        return dropout(x, self.config.shortcut_dropout, self.noise)
