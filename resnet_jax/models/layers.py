"""Convolution, batch normalisation, the layers of shortcuts, and the last layer.

Each has a computation dtype. Parameters and running statistics are float32, or float64 if the computation is, and batch
statistics are computed in the same dtype.
"""

from __future__ import annotations

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

SHORTEST_DRAW = 4**8  # numbers; larger than the largest kernel of a CIFAR net


def he_normal(key: Array, shape: tuple[int, ...], dtype: Dtype) -> Array:
    """Kernels [K, K, C, F]: `jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")` (in jax 0.10 to the bit).

    He et al. 2015b (arXiv 1502.01852), Eq. 14: a normal distribution with mean 0 and variance 2 / (k^2 c_out), as in
    the authors' published CIFAR code. It keeps the variance of the gradient; Eq. 10, with c_in, keeps that of the
    signal. It is not truncated, in contrast to jax.nn.initializers.he_normal.
    """
    fan_out = math.prod(shape) // shape[-2]
    return _draw(jax.random.normal, key, shape, dtype, 2.0 / fan_out)


def head_uniform(key: Array, shape: tuple[int, ...], dtype: Dtype) -> Array:
    """Initial values of the last layer [C, classes]: uniform in +-1/sqrt(c_in).

    This is Torch's default, which the authors' code uses; `variance_scaling(1 / 3, "fan_in", "uniform")`.
    """
    return _draw(partial(jax.random.uniform, minval=-1.0), key, shape, dtype, 1.0 / shape[0])


def _draw(random: Callable[..., Array], key: Array, shape: tuple[int, ...], dtype: Dtype, square: float) -> Array:
    """Random numbers, multiplied by the square root of `square`.

    Each program of random draws takes a second or two to compile, so arrays are drawn in a few lengths and cut. This
    changes no
    value: in JAX a number depends only on the key and on its position in the flattened array.
    """
    size = math.prod(shape)
    length = max(SHORTEST_DRAW, 4 ** math.ceil(math.log(size, 4)))
    return (random(key, (length,), dtype) * jnp.sqrt(jnp.asarray(square, dtype)))[:size].reshape(shape)


def param_dtype(dtype: Dtype) -> Dtype:
    """The dtype of parameters and statistics for a computation in `dtype`: float32, or float64 for float64."""
    return jnp.float64 if jnp.dtype(dtype) == jnp.float64 else jnp.float32


class Conv(nn.Module):
    """2-D convolution without bias (the batch norm after it has one).

    The padding is (kernel - 1) / 2 on both sides, at any stride, as in the papers' nets. "SAME" would pad an even input
    at stride 2 on one side only.
    """

    features: int
    kernel: int
    stride: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), features] in `dtype`."""
        assert self.kernel % 2 == 1, "symmetric padding needs an odd kernel"
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", he_normal, shape, param_dtype(self.dtype))
        return conv2d(x.astype(self.dtype), kernel.astype(self.dtype), stride=self.stride, pad=(self.kernel - 1) // 2)


class Gate(nn.Module):
    """g(x) = sigmoid(W_g x + b_g), a 1x1 convolution with bias (He et al. 2016, Sec. 3.1)."""

    features: int
    stride: int
    bias: float
    """Initial value of b_g, in every channel."""
    dtype: Dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), features], between 0 and 1."""
        stored = param_dtype(self.dtype)
        kernel = self.param("kernel", he_normal, (1, 1, x.shape[-1], self.features), stored)
        bias = self.param("bias", nn.initializers.constant(self.bias), (self.features,), stored)
        y = conv2d(x.astype(self.dtype), kernel.astype(self.dtype), stride=self.stride, pad=0)
        return nn.sigmoid(y + _over_pixels(bias.astype(self.dtype)))


class Scalar(nn.Module):
    """Multiplies by one learned number (SkipInit: De and Smith 2020, Sec. 4)."""

    start: float
    dtype: Dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x -> alpha x."""
        alpha = self.param("alpha", nn.initializers.constant(self.start), (), param_dtype(self.dtype))
        return alpha.astype(self.dtype) * x


@jax.custom_jvp
def relu(x: Array) -> Array:
    """max(x, 0), elementwise, with gradient 0 at 0 (as jax.nn.relu).

    The result and its gradient are computed once. The mask of the gradient follows from the result, which the next
    convolution keeps anyway, and barriers keep XLA from computing either again in each fused loop. On a CPU this saves
    about a twelfth of the train step of a net on 8x8 images.
    """
    y: Array = jax.lax.optimization_barrier(jnp.maximum(x, 0))
    return y


@relu.defjvp
def _relu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    y = relu(x)
    return y, jnp.where(y > 0, jax.lax.optimization_barrier(dx), jnp.zeros_like(dx))


def strided_identity(x: Array, *, stride: int, features: int, padding: Literal["end", "both"]) -> Array:
    """Option A: every `stride`-th pixel, and zero channels up to `features`; no parameters.

    Args:
      x: [N, H, W, C].
      stride: 1 keeps all pixels.
      features: channels of the result, at least C.
      padding: "end" puts all zero channels after the signal, "both" half of them (rounded down) before it.

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
    """Variance of each group around its mean; x: [G, N, H, W, C], mean: [G, 1, 1, 1, C] -> [G, 1, 1, 1, C].

    `mean` must be the mean of `x` (over all devices, if it is averaged over devices). Then the first derivative with
    respect to the mean is 0, and this function leaves that term out; automatic differentiation would compute it as a
    sum over all pixels. Second derivatives are exact too.
    """
    return jnp.square(x - mean).mean(axis=(1, 2, 3), keepdims=True)


@_variance.defjvp
def _variance_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, mean), (dx, _) = primals, tangents
    return _variance(x, mean), 2.0 * ((x - mean) * dx).mean(axis=(1, 2, 3), keepdims=True)


@jax.custom_jvp
def _normalise(x: Array, mean: Array, factor: Array, bias: Array) -> Array:
    """(x - mean) * factor + bias; x: [G, N, H, W, C], the others [G, 1, 1, 1, C], and bias [1, 1, 1, 1, C].

    The derivative adds the contributions of `mean` and `bias` before it broadcasts them, so that the gradient needs two
    sums over the pixels instead of three.
    """
    return (x - mean) * factor + bias


@_normalise.defjvp
def _normalise_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    (x, mean, factor, bias), (dx, dmean, dfactor, dbias) = primals, tangents
    return _normalise(x, mean, factor, bias), dx * factor + (x - mean) * dfactor + (dbias - factor * dmean)


@dataclass(frozen=True)
class BatchStatsScope:
    """Which images share batch statistics, in terms of devices and axes; training/mesh.py derives it from the
    configuration."""

    groups: int = 1
    """Number of equal groups of consecutive images in this call of the net; each is normalised by itself."""
    average_over: str | None = None
    """Mapped axis (pmap, shard_map) over which batch statistics are averaged; None: not over devices."""
    running_over: str | None = None
    """Mapped axis over which the running statistics are averaged, so that they are equal on all devices."""


class BatchNorm(nn.Module):
    """Batch normalisation over N, H, W (Ioffe and Szegedy 2015), always with the biased variance.

    With G groups, each group of N/G images is normalised by its own mean and variance. The running statistics move
    toward the means of these over the groups and devices. PyTorch keeps the unbiased variance instead, which is larger
    by m / (m - 1) with m = N H W / G.

    The variance is computed around the mean, in a second pass, because E[x^2] - E[x]^2 loses precision in float32.
    """

    momentum: float
    epsilon: float
    stats_scope: BatchStatsScope
    dtype: Dtype
    zero_scale: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """x: [N, H, W, C] -> the same shape in `dtype`; in train mode updates the collection `batch_stats`."""
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
    """The last layer: x W + b; the initial bias is 0."""

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x: [N, C] -> logits [N, features] in the dtype of the parameters (float32), for any computation dtype."""
        stats_dtype = param_dtype(self.dtype)
        kernel = self.param("kernel", head_uniform, (x.shape[-1], self.features), stats_dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), stats_dtype)
        logits = jnp.dot(x.astype(self.dtype), kernel.astype(self.dtype)).astype(stats_dtype)
        return logits + bias.reshape(1, -1)


def _over_pixels(per_channel: Array) -> Array:
    return per_channel.reshape(1, 1, 1, -1)
