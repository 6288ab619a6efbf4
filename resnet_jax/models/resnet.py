"""The nets: CIFAR nets with 6n+2 or 9n+2 layers, ImageNet nets with 18 to 152 layers, with and without shortcuts.

model = build(config)
variables = model.init(key, images, train=False)            # {"params": ..., "batch_stats": ...}
logits = model.apply(variables, images, train=False)
logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])

In training, a net with stochastic depth or dropout also needs random keys: the argument noise=noise(...), see
models/noise.py.
"""

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
    """The number of a block in the net, from 1, and its survival probability. In a scan, both are arrays."""

    number: np.ndarray
    survival: np.ndarray


class ResNet(nn.Module):
    """A residual net, or a plain net if config.shortcut is "none".

    Submodules: stem_conv, stem_norm, stage{i}_block{j} (i and j from 1), final_norm, head. The names of the blocks do
    not depend on the depth. A plain net and the residual net with option A have the same parameters, with the same
    names. For the same key, their initial values are equal too, because Flax derives the key of a parameter from its
    name.
    """

    config: ModelConfig
    stats_scope: BatchStatsScope = BatchStatsScope()
    """Which images share batch statistics; set by training/mesh.py."""
    scanned: bool = False
    """Whether the blocks of a stage, except the first, are computed in a loop, with stacked variables (stacking.py).
    The results are equal, and the compiled program does not grow with depth. Such a net can be applied but not
    initialised."""
    frozen_stages: int = 0
    """Number of stages that are not trained, counted from the first; with at least one, the stem is not trained either.
    Their batch norms work as in evaluation, and their parameters get no gradient."""

    @nn.compact
    def __call__(self, images: Array, *, train: bool, noise: Noise | None = None) -> Array:
        """Computes the logits of images.

        Args:
          images: [N, H, W, C] float, normalised.
          train: True: batch norms use batch statistics and update the running statistics (pass
            mutable=["batch_stats"] to `apply`). False: they use the running statistics.
          noise: random keys of the training step, for a net with stochastic depth or dropout. None: no random draws;
            expectations are used instead, as in eval mode.

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
            # With full pre-activation, the first activation, "right after conv1 and before splitting into two paths"
            # (2016, Appendix), belongs to the first unit. With ReLU-only pre-activation, BN follows conv1 as usual.
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
                    continue  # computed in the scan, which begins with block rest[0]
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

        # Pre-activation: "an extra activation right after its element-wise addition" of the last unit (2016, Appendix).
        for step in order.before:
            x = relu(x) if step == "relu" else norm(name="final_norm")(x, train=trained("final_norm"))
        if self.frozen_stages == len(c.stage_blocks):
            x = jax.lax.stop_gradient(x)  # final_norm is frozen with the last stage
        x = x.mean(axis=(1, 2), dtype=param_dtype(dtype))  # [N, H, W, C] -> [N, C]
        logits: Array = Linear(c.num_classes, dtype=dtype, name="head")(x)
        return logits


def _position(config: ModelConfig, block: tuple[int, int], length: int) -> _Position | None:
    if not config.is_noisy:
        return None
    first = config.blocks.index(block) + 1
    numbers = np.arange(first, first + max(1, length), dtype=np.int32)
    positions = _Position(numbers, np.asarray([config.survival_of(int(number)) for number in numbers], np.float32))
    return positions if length else _Position(*(x[0] for x in positions))


def build(config: ModelConfig) -> ResNet:
    """Builds the Flax module of the net that `config` describes.

    Raises:
      UserError: `config.num_classes` is None. (In a run, the data set sets this number.)
    """
    if config.num_classes is None:
        raise UserError("model.num_classes: got None; to build a net, give the number of classes.")
    return ResNet(config)
