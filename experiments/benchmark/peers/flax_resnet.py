"""The nets of He et al. 2015 (arXiv 1512.03385) in straightforward Flax linen: nn.Conv, nn.BatchNorm, jit.

The benchmark compares the speed of these nets with the speed of the nets in `resnet_jax`. This module must not import
`resnet_jax`, so that the compared nets share no code.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

Array = jax.Array
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Block(nn.Module):
    """A block with shortcut A or B, or with no shortcut.

    A basic block has convolutions 3x3 and 3x3; a bottleneck block has 1x1, 3x3 and 1x1. In both, the first convolution
    has the stride.
    """

    width: int
    stride: int
    bottleneck: bool
    projection: bool
    plain: bool
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), width], or 4 * width channels for a bottleneck."""
        strides = (self.stride, self.stride)
        if self.bottleneck:
            y = nn.relu(self.norm()(self.conv(self.width, (1, 1), strides)(x)))
            y = nn.relu(self.norm()(self.conv(self.width, (3, 3))(y)))
            y = self.norm()(self.conv(4 * self.width, (1, 1))(y))
        else:
            y = nn.relu(self.norm()(self.conv(self.width, (3, 3), strides)(x)))
            y = self.norm()(self.conv(self.width, (3, 3))(y))
        if self.plain:
            return nn.relu(y)
        if x.shape != y.shape:
            if self.projection:
                x = self.norm(name="norm_proj")(self.conv(y.shape[-1], (1, 1), strides, name="conv_proj")(x))
            else:
                x = x[:, :: self.stride, :: self.stride]
                x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, y.shape[-1] - x.shape[-1])))
        return nn.relu(x + y)


class FlaxResNet(nn.Module):
    """CIFAR net (Sec. 4.2) or ImageNet net (Table 1): images [N, H, W, C] -> logits [N, classes] float32."""

    imagenet: bool
    depth: int
    bottleneck: bool
    projection: bool
    classes: int
    plain: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """x: normalised images [N, H, W, C]. With `train`, the call updates the collection `batch_stats`."""

        def conv(
            features: int, kernel: tuple[int, int], strides: tuple[int, int] = (1, 1), name: str | None = None
        ) -> nn.Conv:
            padding = [(k // 2, k // 2) for k in kernel]
            return nn.Conv(features, kernel, strides, padding, use_bias=False, dtype=self.dtype, name=name)

        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype)
        width = 64 if self.imagenet else 16
        stages = STAGES[self.depth] if self.imagenet else ((self.depth - 2) // (9 if self.bottleneck else 6),) * 3
        x = conv(width, (7, 7), (2, 2))(x) if self.imagenet else conv(width, (3, 3))(x)
        x = nn.relu(norm()(x))
        if self.imagenet:
            x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for i, blocks in enumerate(stages):
            for j in range(blocks):
                stride = 2 if i > 0 and j == 0 else 1
                x = Block(width * 2**i, stride, self.bottleneck, self.projection, self.plain, conv, norm)(x)
        x = x.mean(axis=(1, 2))
        logits = nn.Dense(self.classes, dtype=self.dtype)(x)
        return jnp.asarray(logits, jnp.promote_types(self.dtype, jnp.float32))


def train_step(
    model: FlaxResNet, optimizer: optax.GradientTransformation
) -> Callable[[Any, Array, Array], tuple[Any, Array]]:
    """Makes step(state, images, labels) -> (state, mean loss); state is (params, batch_stats, opt_state)."""

    def flax_train(state: Any, images: Array, labels: Array) -> tuple[Any, Array]:
        params, batch_stats, opt_state = state

        def loss_of(params: Any) -> tuple[Array, Any]:
            variables = {"params": params, "batch_stats": batch_stats}
            logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, updated["batch_stats"]

        (loss, batch_stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), batch_stats, opt_state), loss

    return flax_train


def eval_step(model: FlaxResNet) -> Callable[[Any, Array, Array], tuple[Array, Array]]:
    """Makes step(state, images, labels) -> (sum of losses, number of errors)."""

    def flax_eval(state: Any, images: Array, labels: Array) -> tuple[Array, Array]:
        params, batch_stats, _ = state
        logits: Any = model.apply({"params": params, "batch_stats": batch_stats}, images, train=False)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.sum(), (logits.argmax(axis=-1) != labels).sum()

    return flax_eval
