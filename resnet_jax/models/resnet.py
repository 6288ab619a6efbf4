"""The nets: CIFAR nets of 6n+2 and 9n+2 layers, ImageNet nets of 18 to 152, and the plain twin of each.

model = build(config)
variables = model.init(key, images, train=False)            # {"params": ..., "batch_stats": ...}
logits = model.apply(variables, images, train=False)
logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.models.blocks import Block, block_shape
from resnet_jax.models.layers import BatchNorm, BatchStatsScope, Conv, Linear, param_dtype
from resnet_jax.models.stacking import block_name, rest_name, stacked_stages, stage_of

Array = jax.Array


class ResNet(nn.Module):
    """A residual net, or its plain twin, as `config` says.

    Submodules: stem_conv, stem_norm, stage{i}_block{j} (counted from 1), final_norm, head; a block keeps its name
    at every depth. A plain net and its twin with option A have the same parameters under the same names, and so,
    since Flax derives each parameter's key from its name, the same initial values for the same key.
    """

    config: ModelConfig
    stats_scope: BatchStatsScope = BatchStatsScope()
    """Of the batch statistics; training/parallel.py sets it."""
    scanned: bool = False
    """Loop over the blocks of a stage that are alike, all but the first, with variables laid out as stacking.py says.
    The values are the same; the program does not grow with depth. Such a net is applied, not initialised."""
    frozen_stages: int = 0
    """The stem and this many stages, from the first, take no part in training: in train mode too their batch norms
    normalise by the running statistics, which stay as they are, and no gradient reaches their parameters."""

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> Array:
        """Logits of images.

        Args:
          images: [N, H, W, C] float, normalised.
          train: True normalises by batch statistics and updates the running ones (pass mutable=["batch_stats"]);
            False uses the running ones.

        Returns:
          [N, num_classes] float32 (float64 for a float64 net).
        """
        c = self.config
        assert c.num_classes is not None
        dtype = jnp.dtype(c.dtype)
        conv = partial(Conv, dtype=dtype)
        norm = partial(BatchNorm, c.norm.momentum, c.norm.epsilon, self.stats_scope, dtype)
        preact = c.activation_order == "full_preactivation"

        def trained(part: str) -> bool:
            return train and stage_of(part, len(c.stage_blocks)) > self.frozen_stages

        x = images.astype(dtype)
        if c.family == "cifar":
            x = conv(features=c.base_width, kernel=3, name="stem_conv")(x)
            # Pre-activation: the "extra activation right after conv1" (2016, Appendix) is the first unit's own,
            # applied before the two paths split.
            stem_activation = not preact
        else:
            x = conv(features=c.base_width, kernel=7, stride=2, name="stem_conv")(x)
            stem_activation = True
        if stem_activation:
            x = nn.relu(norm(name="stem_norm")(x, train=trained("stem_norm")))
        if c.family == "imagenet":
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))

        def unit(block: Block, x: Array) -> Array:
            y: Array = block(x, train=trained(str(block.name)))
            return y

        if c.remat and train:
            unit = nn.remat(unit)

        def body(block: Block, x: Array, _: None) -> tuple[Array, None]:
            return unit(block, x), None

        def scan(block: Block, x: Array, length: int) -> Array:
            over_blocks = nn.scan(
                body,
                variable_axes={"params": 0, "batch_stats": 0},
                split_rngs={"params": False},
                length=length,
            )
            y: Array = over_blocks(block, x, None)[0]
            return y

        stacked = stacked_stages(c) if self.scanned else {}
        for i, (blocks, width) in enumerate(zip(c.stage_blocks, c.stage_widths, strict=True), start=1):
            for j in range(1, blocks + 1):
                rest = stacked.get(i, range(0))
                if j in rest[1:]:
                    continue  # with the first of the rest
                first_unit = (i, j) == (1, 1)
                stride = 2 if i > 1 and j == 1 else 1
                kernels, features, strides = block_shape(c.block_kind, width, c.expansion, stride, c.bottleneck_stride)
                block = Block(
                    kernels=kernels,
                    features=features,
                    strides=strides,
                    shortcut=c.shortcut,
                    shortcut_padding=c.shortcut_padding,
                    activation_order=c.activation_order,
                    conv=conv,
                    norm=norm,
                    zero_gamma=c.zero_gamma,
                    preactivate=not (first_unit and stem_activation),
                    share_preactivation=first_unit,
                    name=rest_name(i) if j in rest else block_name(i, j),
                )
                x = scan(block, x, len(rest)) if j in rest else unit(block, x)
            if i == self.frozen_stages:
                x = jax.lax.stop_gradient(x)

        if preact:
            x = nn.relu(norm(name="final_norm")(x, train=trained("final_norm")))
        if self.frozen_stages == len(c.stage_blocks):
            x = jax.lax.stop_gradient(x)  # final_norm is frozen with the last stage
        x = x.mean(axis=(1, 2), dtype=param_dtype(dtype))  # [N, H, W, C] -> [N, C]
        logits: Array = Linear(c.num_classes, dtype=dtype, name="head")(x)
        return logits


def build(config: ModelConfig) -> ResNet:
    """The net that `config` describes.

    Raises:
      UserError: `config.num_classes` is None (it was left to the data set, and none is at hand).
    """
    if config.num_classes is None:
        raise UserError("model.num_classes: got None; legal here: the number of classes, since no data set gives it.")
    return ResNet(config)
