"""Residual units: basic and bottleneck (He et al. 2015, Fig. 5), in each order of activation (2016, Fig. 4).

A unit is its convolutions, an order, and a shortcut. The orders differ only in where BN and ReLU stand, so both
units share the code of an order: an order is one method here, and its name in ModelConfig.activation_order.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax

from resnet_jax.models.shortcuts import ShortcutPadding, join, projects

Array = jax.Array


class Block(nn.Module):
    """One unit. Submodules: conv1, norm1, conv2, norm2 (conv3, norm3), and shortcut_conv, shortcut_norm.

    The plain twin of a unit (shortcut "none") has the same submodules, so the same parameters under the same names.
    """

    kernels: tuple[int, ...]
    """Kernel size of each conv: (3, 3) basic, (1, 3, 1) bottleneck."""
    features: tuple[int, ...]
    """Output channels of each conv."""
    strides: tuple[int, ...]
    """Stride of each conv."""
    shortcut: str
    shortcut_padding: ShortcutPadding
    activation_order: str
    conv: Any
    """Conv(features=, kernel=, stride=, name=), with its dtype bound by the net."""
    norm: Any
    """BatchNorm(name=, zero_scale=), with its configuration bound by the net."""
    zero_gamma: bool = False
    preactivate: bool = True
    """Pre-activation order only: False where the net's stem has already put BN and ReLU before this unit."""
    share_preactivation: bool = False
    """Pre-activation order only: the shortcut starts after the first BN and ReLU, not before."""

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """x: [N, H, W, C] -> [N, ceil(H / s), ceil(W / s), features[-1]] for the unit's stride s."""
        orders = {"original": self._original, "full_preactivation": self._full_preactivation}
        return orders[self.activation_order](x, train=train)

    @property
    def stride(self) -> int:
        """The unit's stride."""
        return max(self.strides)

    def _original(self, x: Array, *, train: bool) -> Array:
        """conv BN ReLU ... conv BN + shortcut, ReLU (2015, Fig. 2 and 5; 2016, Fig. 4a)."""
        y, last = x, len(self.kernels)
        for i in range(1, last + 1):
            y = self._conv(i)(y)
            y = self._norm(i, zero_scale=self.zero_gamma and i == last)(y, train=train)
            if i < last:
                y = nn.relu(y)
        return nn.relu(self._join(x, y, train=train, projection_norm=True))

    def _full_preactivation(self, x: Array, *, train: bool) -> Array:
        """BN ReLU conv ... BN ReLU conv + shortcut (2016, Fig. 4e).

        A projection takes the pre-activated input and has no BN of its own (2016, Appendix, and the authors' code).
        """
        y, source, last = x, x, len(self.kernels)
        for i in range(1, last + 1):
            if i > 1 or self.preactivate:
                # The residual branch of this order ends in a conv; its last BN is the nearest place for zero-gamma.
                y = nn.relu(self._norm(i, zero_scale=self.zero_gamma and i == last)(y, train=train))
            if i == 1 and (self.share_preactivation or self._projects(x)):
                source = y
            y = self._conv(i)(y)
        return self._join(source, y, train=train, projection_norm=False)

    def _conv(self, i: int) -> nn.Module:
        k = i - 1
        module: nn.Module = self.conv(
            features=self.features[k], kernel=self.kernels[k], stride=self.strides[k], name=f"conv{i}"
        )
        return module

    def _norm(self, i: int, *, zero_scale: bool) -> nn.Module:
        module: nn.Module = self.norm(name=f"norm{i}", zero_scale=zero_scale)
        return module

    def _projects(self, x: Array) -> bool:
        return projects(self.shortcut, shape_changes=self.stride > 1 or x.shape[-1] != self.features[-1])

    def _join(self, source: Array, residual: Array, *, train: bool, projection_norm: bool) -> Array:
        project = partial(self._project, train=train, norm=projection_norm) if self._projects(source) else None
        return join(self.shortcut, source, residual, stride=self.stride, padding=self.shortcut_padding, project=project)

    def _project(self, x: Array, *, train: bool, norm: bool) -> Array:
        y: Array = self.conv(features=self.features[-1], kernel=1, stride=self.stride, name="shortcut_conv")(x)
        return self.norm(name="shortcut_norm")(y, train=train) if norm else y


def block_shape(
    kind: str, width: int, expansion: int, stride: int, bottleneck_stride: str
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Kernels, features and strides of a unit's convs (He et al. 2015, Fig. 5).

    Args:
      kind: "basic" or "bottleneck".
      width: channels of the 3x3 convs.
      expansion: output channels over width.
      stride: of the unit; a basic unit has it on its first conv.
      bottleneck_stride: "1x1" (first conv, the paper) or "3x3" (second conv, "v1.5").
    """
    if kind == "basic":
        return (3, 3), (width, width), (stride, 1)
    strides = (stride, 1, 1) if bottleneck_stride == "1x1" else (1, stride, 1)
    return (1, 3, 1), (width, width, expansion * width), strides
