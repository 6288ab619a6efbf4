"""The nets: CIFAR nets of 6n+2 and 9n+2 layers, ImageNet nets of 18 to 152, and the plain twin of each.

model = build(config)
variables = model.init(key, images, train=False)            # {"params": ..., "batch_stats": ...}
logits = model.apply(variables, images, train=False)
logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])

In a train step, a net with stochastic depth or dropout also needs random numbers: noise=noise(...), see
models/noise.py.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.models.blocks import Block, Chance
from resnet_jax.models.layers import BatchNorm, BatchStatsScope, Conv, Linear, param_dtype, relu
from resnet_jax.models.noise import Noise
from resnet_jax.models.orders import ORDERS
from resnet_jax.models.stacking import block_name, rest_name, stacked_stages, stage_of


class _Position(NamedTuple):
    """The position of a block as data, or [length] positions of the blocks of a scan, so that all have the same
    code."""

    number: np.ndarray
    survival: np.ndarray


class ResNet(nn.Module):
    """A residual net, or its plain twin, as `config` says.

    Submodules: stem_conv, stem_norm, stage{i}_block{j} (counted from 1), final_norm, head. The name of a block does not
    depend on the depth. A plain net and its twin with option A have the same parameters, with the same names. Flax
    derives the key of each parameter from its name, so for one key their initial values are equal too.
    """

    config: ModelConfig
    stats_scope: BatchStatsScope = BatchStatsScope()
    """Which images share batch statistics; set by training/mesh.py."""
    scanned: bool = False
    """Loop over all blocks of a stage but the first, with variables stacked as in stacking.py. The results are equal,
    and the program does not grow with depth. Such a net cannot be initialised, only applied."""
    frozen_stages: int = 0
    """Number of stages, from the first, that are not trained, together with the stem. In train mode their batch norms
    use the running statistics and do not update them, and their parameters get no gradient."""

    @nn.compact
    def __call__(self, images: Array, *, train: bool, noise: Noise | None = None) -> Array:
        """Logits of images.

        Args:
          images: [N, H, W, C] float, normalised.
          train: True normalises by batch statistics and updates the running ones (pass mutable=["batch_stats"]);
            False uses the running ones.
          noise: the random keys of the step, for a net with stochastic depth or dropout in train mode. None:
            expectations instead of draws, as in eval mode.

        Returns:
          [N, num_classes] float32 (float64 for a float64 net).
        """
        c = self.config
        assert c.num_classes is not None
        dtype = jnp.dtype(c.dtype)
        conv = partial(Conv, dtype=dtype)
        norm = partial(BatchNorm, c.norm.momentum, c.norm.epsilon, self.stats_scope, dtype)
        order = ORDERS[c.activation_order]

        def trained(part: str) -> bool:
            return train and stage_of(part, len(c.stage_blocks)) > self.frozen_stages

        x = images.astype(dtype)
        if c.family == "cifar":
            x = conv(features=c.base_width, kernel=3, name="stem_conv")(x)
            # Full pre-activation: the first activation, "right after conv1 and before splitting into two paths" (2016,
            # Appendix), belongs to the first unit. With ReLU-only pre-activation, conv1 has its BN as usual.
            stem_activation = not order.norm_first
        else:
            x = conv(features=c.base_width, kernel=7, stride=2, name="stem_conv")(x)
            stem_activation = True
        if stem_activation:
            x = relu(norm(name="stem_norm")(x, train=trained("stem_norm")))
        if c.family == "imagenet":
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))

        def unit(block: Block, x: Array, position: _Position | None) -> Array:
            takes_part, chance = trained(str(block.name)), None
            if position is not None:
                own = noise.of_block(jnp.asarray(position.number)) if noise is not None and takes_part else None
                chance = Chance(jnp.asarray(position.survival), own)
            y: Array = block(x, chance, train=takes_part)
            return y

        if c.remat and train:
            unit = nn.remat(unit)

        def body(block: Block, x: Array, position: _Position | None) -> tuple[Array, None]:
            return unit(block, x, position), None

        def scan(block: Block, x: Array, positions: _Position | None, length: int) -> Array:
            over_blocks = nn.scan(
                body, variable_axes={"params": 0, "batch_stats": 0}, split_rngs={"params": False}, length=length
            )
            y: Array = over_blocks(block, x, positions)[0]
            return y

        stacked = stacked_stages(c) if self.scanned else {}
        for i, (blocks, width) in enumerate(zip(c.stage_blocks, c.stage_widths, strict=True), start=1):
            for j in range(1, blocks + 1):
                rest = stacked.get(i, range(0))
                if j in rest[1:]:
                    continue  # computed together with the first of the rest
                first_unit = (i, j) == (1, 1)
                stride = 2 if i > 1 and j == 1 else 1
                block = Block(
                    config=c,
                    convs=c.convs(width, stride),
                    shortcut=c.shortcut_of((i, j)),
                    conv=conv,
                    norm=norm,
                    preactivate=not (first_unit and stem_activation),
                    share_preactivation=first_unit,
                    name=rest_name(i) if j in rest else block_name(i, j),
                )
                length = len(rest) if j in rest else 0
                position = _position(c, (i, j), length)
                x = scan(block, x, position, length) if length else unit(block, x, position)
            if i == self.frozen_stages:
                x = jax.lax.stop_gradient(x)

        # The activation that a next unit would begin with: "an extra activation right after its element-wise addition".
        for step in order.before:
            x = relu(x) if step == "relu" else norm(name="final_norm")(x, train=trained("final_norm"))
        if self.frozen_stages == len(c.stage_blocks):
            x = jax.lax.stop_gradient(x)  # final_norm is frozen with the last stage
        x = x.mean(axis=(1, 2), dtype=param_dtype(dtype))  # [N, H, W, C] -> [N, C]
        logits: Array = Linear(c.num_classes, dtype=dtype, name="head")(x)
        return logits


def _position(config: ModelConfig, block: tuple[int, int], length: int) -> _Position | None:
    """The position of a block, or of `length` blocks from it on; None for a net without random numbers."""
    if not config.is_noisy:
        return None
    first = config.blocks.index(block) + 1
    numbers = np.arange(first, first + max(1, length), dtype=np.int32)
    positions = _Position(numbers, np.asarray([config.survival_of(int(number)) for number in numbers], np.float32))
    return positions if length else _Position(*(x[0] for x in positions))


def build(config: ModelConfig) -> ResNet:
    """The net that `config` describes.

    Raises:
      UserError: `config.num_classes` is None, which is legal only where a data set gives the number.
    """
    if config.num_classes is None:
        raise UserError("model.num_classes: got None; legal here: the number of classes.")
    return ResNet(config)
