"""Layers of the nets: convolution, batch normalisation, the layers of shortcuts, and the last layer.

Each layer has a computation dtype. Parameters, running statistics and batch statistics are float32, or float64 if the
computation is in float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from resnet_jax.models.conv import conv2d

Dtype = Any  # what jnp.dtype() takes

SHORTEST_DRAW = 4**8  # smallest number of random numbers drawn at once; larger than every kernel of a CIFAR net


def he_normal(key: Array, shape: tuple[int, ...], dtype: Dtype) -> Array:
    """Initial values of kernels [K, K, C, F]: normal with mean 0 and variance 2 / (K^2 F), and not truncated.

    Source: He et al. 2015b (arXiv 1502.01852), Eq. 14, and the authors' published CIFAR code. This variance preserves
    the variance of the gradients; Eq. 10, with C instead of F, preserves the variance of the activations. Up to
    rounding, the values equal those of `jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")`. JAX's own
    he_normal is different: it uses C, and a truncated normal distribution.
    """
    fan_out = math.prod(shape) // shape[-2]
    return _draw(jax.random.normal, key, shape, dtype, 2.0 / fan_out)


def head_uniform(key: Array, shape: tuple[int, ...], dtype: Dtype) -> Array:
    """Initial values of the last layer's kernel [C, classes]: uniform between -1 / sqrt(C) and 1 / sqrt(C).

    Source: the default of Torch, which the authors' code uses. It equals JAX's initializer
    `variance_scaling(1 / 3, "fan_in", "uniform")`.
    """
    return _draw(partial(jax.random.uniform, minval=-1.0), key, shape, dtype, 1.0 / shape[0])


def _draw(random: Callable[..., Array], key: Array, shape: tuple[int, ...], dtype: Dtype, square: float) -> Array:
    """Draws random numbers of shape `shape`, multiplied by the square root of `square`.

    JAX compiles a program for each length, which takes a second or two. So arrays are drawn in a few lengths and cut.
    This changes no value, because a random number depends only on the key and its position in the flattened array.
    """
    size = math.prod(shape)
    length = max(SHORTEST_DRAW, 4 ** math.ceil(math.log(size, 4)))
    return (random(key, (length,), dtype) * jnp.sqrt(jnp.asarray(square, dtype)))[:size].reshape(shape)


def param_dtype(dtype: Dtype) -> Dtype:
    """The dtype of parameters and statistics for a computation in `dtype`: float32, or float64 for float64."""
    return jnp.float64 if jnp.dtype(dtype) == jnp.float64 else jnp.float32


class Conv(nn.Module):
    """2-D convolution without bias, because the batch norm after it has a bias.

    The padding is (kernel - 1) / 2 pixels on all sides, for every stride, as in the papers' nets. "SAME" would be
    different: for inputs of even size at stride 2, it pads more on one side than on the other.
    """

    features: int
    kernel: int
    stride: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Convolves x: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), features] in `dtype`."""
        assert self.kernel % 2 == 1, "symmetric padding needs an odd kernel"
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", he_normal, shape, param_dtype(self.dtype))
        return conv2d(x.astype(self.dtype), kernel.astype(self.dtype), stride=self.stride, pad=(self.kernel - 1) // 2)


class Gate(nn.Module):
    """A gate, g(x) = sigmoid(W_g x + b_g), where W_g is a 1x1 convolution (He et al. 2016, Sec. 3.1)."""

    features: int
    stride: int
    bias: float
    """Initial value of b_g, in every channel."""
    dtype: Dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Computes g(x), between 0 and 1: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), features]."""
        stored = param_dtype(self.dtype)
        kernel = self.param("kernel", he_normal, (1, 1, x.shape[-1], self.features), stored)
        bias = self.param("bias", nn.initializers.constant(self.bias), (self.features,), stored)
        y = conv2d(x.astype(self.dtype), kernel.astype(self.dtype), stride=self.stride, pad=0)
        return nn.sigmoid(y + _over_pixels(bias.astype(self.dtype)))


class Scalar(nn.Module):
    """Multiplies its input by one learned number, alpha (SkipInit: De and Smith 2020, Sec. 4)."""

    start: float
    dtype: Dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns alpha * x, in the shape of x."""
        alpha = self.param("alpha", nn.initializers.constant(self.start), (), param_dtype(self.dtype))
        return alpha.astype(self.dtype) * x


@jax.custom_jvp
def relu(x: Array) -> Array:
    """max(x, 0), elementwise, with gradient 0 at x = 0, like jax.nn.relu.

    It is faster on CPUs: optimization barriers prevent XLA from computing the result, or its gradient, again in each
    fused loop. The gradient's mask is computed from the result, which the next convolution keeps in memory anyway.
    """
    y: Array = jax.lax.optimization_barrier(jnp.maximum(x, 0))
    return y


@relu.defjvp
def _relu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    y = relu(x)
    return y, jnp.where(y > 0, jax.lax.optimization_barrier(dx), jnp.zeros_like(dx))


def strided_identity(x: Array, *, stride: int, features: int, padding: Literal["end", "both"]) -> Array:
    """The shortcut of option A: takes every `stride`-th pixel, and adds zero channels. It has no parameters.

    Args:
      x: [N, H, W, C].
      stride: 1 keeps all pixels.
      features: number of channels of the result, at least C.
      padding: "end" adds all zero channels after the channels of x. "both" adds half of them (rounded down) before
        the channels of x, and the others after.

    Returns:
      [N, ceil(H / stride), ceil(W / stride), features]
    """
    new = features - x.shape[-1]
    assert new >= 0, "option A cannot remove channels"
    before = new // 2 if padding == "both" else 0
    strided = x[:, ::stride, ::stride, :]
    return jnp.pad(strided, ((0, 0), (0, 0), (0, 0), (before, new - before)))


@jax.custom_jvp
def _variance(x: Array, mean: Array) -> Array:
    """Variance of each group around its mean: x [G, N, H, W, C] and mean [G, 1, 1, 1, C] -> [G, 1, 1, 1, C].

    `mean` must be the mean of `x`, over all devices if statistics are averaged over devices. Then the derivative with
    respect to the mean is 0, so the custom derivative leaves it out. Automatic differentiation would compute this 0 as
    a sum over all pixels. Second derivatives are exact too.
    """
    return jnp.square(x - mean).mean(axis=(1, 2, 3), keepdims=True)


@_variance.defjvp
def _variance_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, mean), (dx, _) = primals, tangents
    return _variance(x, mean), 2.0 * ((x - mean) * dx).mean(axis=(1, 2, 3), keepdims=True)


@jax.custom_jvp
def _normalise(x: Array, mean: Array, factor: Array, bias: Array) -> Array:
    """(x - mean) * factor + bias, for x [G, N, H, W, C], mean and factor [G, 1, 1, 1, C], and bias [1, 1, 1, 1, C].

    The custom derivative adds the terms of `mean` and `bias`, which do not depend on the pixel, before it broadcasts
    them. So the backward pass has two sums over the pixels: one for both of these terms, and one for `factor`.
    """
    return (x - mean) * factor + bias


@_normalise.defjvp
def _normalise_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    (x, mean, factor, bias), (dx, dmean, dfactor, dbias) = primals, tangents
    return _normalise(x, mean, factor, bias), dx * factor + (x - mean) * dfactor + (dbias - factor * dmean)


@dataclass(frozen=True)
class BatchStatsScope:
    """Which images share batch statistics; training/mesh.py makes it from the configuration and the devices."""

    groups: int = 1
    """Number of equal groups of consecutive images in a call of the net; each group has its own statistics."""
    average_over: str | None = None
    """Name of the mapped axis (pmap, shard_map) over which batch statistics are averaged; None: no average."""
    running_over: str | None = None
    """Name of the mapped axis over which running statistics are averaged, so that all devices have equal ones; None: no
    average."""


class BatchNorm(nn.Module):
    """Batch normalisation over N, H and W (Ioffe and Szegedy 2015), with the biased variance.

    With G groups, each group of N / G images is normalised with its own mean and variance. The running statistics are
    updated with the averages of these means and variances over groups and devices. PyTorch's running variance is
    unbiased instead: larger by the factor m / (m - 1), with m = N H W / G.

    The variance is the mean of (x - E[x])^2, because E[x^2] - E[x]^2 loses precision in float32.
    """

    momentum: float
    epsilon: float
    stats_scope: BatchStatsScope
    dtype: Dtype
    zero_scale: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Normalises x: [N, H, W, C] -> the same shape in `dtype`. In train mode it updates the running statistics."""
        channels, stats_dtype = x.shape[-1], param_dtype(self.dtype)
        start = nn.initializers.zeros if self.zero_scale else nn.initializers.ones
        scale = self.param("scale", start, (channels,), stats_dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), stats_dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), stats_dtype)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), stats_dtype)

        if not train:
            factor = scale * jax.lax.rsqrt(running_var.value + self.epsilon)
            shift = bias - running_mean.value * factor
            # shapes: [N, H, W, C] * [1, 1, 1, C]
            return (x.astype(stats_dtype) * _over_pixels(factor) + _over_pixels(shift)).astype(self.dtype)

        groups = self.stats_scope.groups
        assert x.shape[0] % groups == 0, f"{x.shape[0]} images do not split into {groups} groups"
        grouped = x.astype(stats_dtype).reshape(groups, -1, *x.shape[1:])  # [G, N/G, H, W, C]
        mean = self._average(grouped.mean(axis=(1, 2, 3), keepdims=True))  # [G, 1, 1, 1, C]
        var = self._average(_variance(grouped, mean))
        if not self.is_initializing():
            for running, batch in ((running_mean, mean), (running_var, var)):
                batch = batch.reshape(groups, channels).mean(axis=0)
                if self.stats_scope.running_over is not None:
                    batch = jax.lax.pmean(batch, self.stats_scope.running_over)
                running.value = self.momentum * running.value + (1.0 - self.momentum) * batch
        factor = scale.reshape(1, 1, 1, 1, -1) * jax.lax.rsqrt(var + self.epsilon)
        normalised = _normalise(grouped, mean, factor, bias.reshape(1, 1, 1, 1, -1))
        return normalised.reshape(x.shape).astype(self.dtype)

    def _average(self, statistic: Array) -> Array:
        over = self.stats_scope.average_over
        return statistic if over is None else jax.lax.pmean(statistic, over)


class Linear(nn.Module):
    """The last layer, x W + b, with an initial bias of 0."""

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Computes logits: x [N, C] -> [N, features], always in the dtype of the parameters (float32 or float64)."""
        stats_dtype = param_dtype(self.dtype)
        kernel = self.param("kernel", head_uniform, (x.shape[-1], self.features), stats_dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), stats_dtype)
        logits = jnp.dot(x.astype(self.dtype), kernel.astype(self.dtype)).astype(stats_dtype)
        return logits + bias.reshape(1, -1)


def _over_pixels(per_channel: Array) -> Array:
    return per_channel.reshape(1, 1, 1, -1)
