"""A convolution and its two gradients on a CPU, computed in a way that depends on the shape.

XLA:CPU's convolution is fast for most shapes, if its axes are in the order of a plain convolution. For these it is
slow:

| case                                                    | computed instead as                                  |
|---------------------------------------------------------|------------------------------------------------------|
| tiny images, such as 2x2                                | one dense matrix product (dense.py)                  |
| the input gradient at stride 2 of tiny images           | the same                                             |
| few output channels                                     | neighbouring outputs as one with more (packed.py)    |
| the input gradient at a stride, to few channels         | one convolution for each remainder (strided.py)      |
| the kernel gradient of large batches                    | a loop of matrix products over taps (taps.py)        |
| the kernel gradient of 1x1 convolutions                 | one matrix product                                   |

docs/performance.md has the measurements behind these rules. Each function computes one convolution; mapped axes are
added around it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from resnet_jax.models.conv import dense, packed, strided, taps
from resnet_jax.models.conv.dense import sum_dtype
from resnet_jax.models.conv.packed import NHWC

# A dense product takes images of up to TINY positions; an input gradient, outputs of up to TINY and inputs of up to
# SMALL positions.
TINY, SMALL = 4, 16
# Number of output channels that XLA needs to be fast, and to which neighbouring outputs are packed. Twice as many if
# the input has fewer channels than FEW.
WIDE, FEW = 32, 8
# Smallest batch, in numbers (N H W C), whose kernel gradient is computed by taps.py.
LARGE_BATCH = 1 << 16


def value(x: Array, kernel: Array, *, stride: int, pad: int) -> Array:
    """[N, H, W, C] and [K, K, C, F] to [N, H', W', F]."""
    if kernel.shape[0] > 1 and _positions(x) <= TINY:
        return dense.value(x, kernel, stride=stride, pad=pad)
    if stride == 1:
        return _at_stride_1(x, kernel, pad)
    y: Array = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=NHWC
    )
    return y


def input_gradient(dy: Array, kernel: Array, *, stride: int, pad: int, height: int, width: int) -> Array:
    """[N, H', W', F] and [K, K, C, F] to [N, height, width, C]."""
    size = kernel.shape[0]
    if size > 1 and _positions(dy) <= TINY and height * width <= SMALL:
        return dense.input_gradient(dy, kernel, stride=stride, pad=pad, height=height, width=width)
    if stride == 1:
        return _at_stride_1(dy, _turned(kernel), size - 1 - pad)
    if size > 1 and kernel.shape[2] < WIDE:
        return strided.input_gradient(dy, kernel, stride=stride, pad=pad, height=height, width=width)
    return ordered_input_gradient(dy, kernel, stride=stride, pad=pad, height=height, width=width)


def _at_stride_1(x: Array, kernel: Array, pad: int) -> Array:
    pack = outputs_packed(kernel.shape, x.shape[2] + 2 * pad - kernel.shape[0] + 1)
    return packed.value(x, kernel, pad=pad, pack=pack)


def outputs_packed(kernel_shape: tuple[int, ...], width_out: int) -> int:
    """The number of neighbouring outputs to compute as one, from measurements: 1, 2 or 4."""
    size, _, c, f = kernel_shape
    wide = WIDE if c >= FEW else 2 * WIDE
    fitting = [pack for pack in (4, 2) if pack * f <= wide and width_out % pack == 0 and width_out > pack]
    return fitting[0] if size > 1 and fitting else 1


def _turned(kernel: Array) -> Array:
    """[K, K, C, F] to [K, K, F, C], the kernel of the input gradient at stride 1."""
    return jnp.flip(kernel, (0, 1)).swapaxes(2, 3)


def kernel_gradient(x: Array, dy: Array, *, stride: int, pad: int, size: int, groups: int) -> Array:
    """[N, H, W, C] and [N, H', W', F] to [size, size, C, F].

    Args:
      groups: a divisor of N: the number of parts into which the batch may be divided over devices.
    """
    if size == 1 and pad == 0:
        return pointwise_kernel_gradient(x, dy, stride=stride)
    if _positions(x) <= TINY:
        return dense.kernel_gradient(x, dy, stride=stride, pad=pad, size=size)
    if loop_pays(x.shape):
        return taps.kernel_gradient(x, dy, stride=stride, pad=pad, size=size, groups=groups)
    return ordered_kernel_gradient(x, dy, stride=stride, pad=pad, size=size)


def loop_pays(x_shape: tuple[int, ...]) -> bool:
    """Whether taps.py was measured to be faster than XLA's kernel gradient.

    It is for all convolutions of the CIFAR and ImageNet nets, except with the smallest batches of small images. There
    the gain is small, and a loop takes longer to compile.
    """
    n, height, width, c = x_shape
    return n * height * width * c >= LARGE_BATCH


def pointwise_kernel_gradient(x: Array, dy: Array, *, stride: int) -> Array:
    """The kernel gradient [1, 1, C, F] of a 1x1 convolution without padding, as one matrix product."""
    product = jax.lax.dot_general(
        x[:, ::stride, ::stride],
        dy,
        (((0, 1, 2), (0, 1, 2)), ((), ())),
        preferred_element_type=sum_dtype(x),
    )
    return product[None, None].astype(x.dtype)


# XLA:CPU has fast code only for the order of axes of a plain convolution. It rearranges other orders, such as those of
# JAX's gradients, only in the outermost computation of a program. In a loop these take up to thirty times as long. So
# the two functions below use the fast order.


def ordered_input_gradient(dy: Array, kernel: Array, *, stride: int, pad: int, height: int, width: int) -> Array:
    """Same result as `input_gradient`, with XLA's own convolution."""
    size = kernel.shape[0]
    before = size - 1 - pad
    # dy is spread out by the stride, and zeros are added after it to reach the input's size.
    padding = [
        (before, out - stride * (side - 1) - 1 + size - 1 - before)
        for out, side in ((height, dy.shape[1]), (width, dy.shape[2]))
    ]
    dx: Array = jax.lax.conv_general_dilated(
        dy,
        _turned(kernel),
        (1, 1),
        padding,
        lhs_dilation=(stride, stride),
        dimension_numbers=NHWC,
    )
    return dx


def ordered_kernel_gradient(x: Array, dy: Array, *, stride: int, pad: int, size: int) -> Array:
    """The same gradient as `kernel_gradient`, computed by XLA's own convolution."""
    padding = [
        (pad, size + stride * (side_out - 1) - side - pad)
        for side, side_out in zip(x.shape[1:3], dy.shape[1:3], strict=True)
    ]
    # A channel of x is an "image", and an image a "channel": [C, H, W, N] * [H', W', N, F] -> [C, K, K, F].
    dkernel: Array = jax.lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        (1, 1),
        padding,
        rhs_dilation=(stride, stride),
        dimension_numbers=NHWC,
    )
    return dkernel.transpose(1, 2, 0, 3)


def _positions(images: Array) -> int:
    return images.shape[1] * images.shape[2]
