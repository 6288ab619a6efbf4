"""A convolution and its two gradients on a CPU. The algorithm depends on the shapes of the arrays.

XLA's convolution on CPUs is fast for most shapes, if its arrays have the axes NHWC (images) and HWIO (kernel). In the
following cases it is slow, and another algorithm is used:

| case                                                     | algorithm                                          |
|----------------------------------------------------------|----------------------------------------------------|
| tiny images, such as 2x2 pixels                          | one dense matrix product (dense.py)                |
| input gradient with tiny output images                   | one dense matrix product (dense.py)                |
| stride 1 and few output channels                         | neighbouring pixels become channels (packed.py)    |
| input gradient at stride above 1, with few channels      | several convolutions at stride 1 (strided.py)      |
| kernel gradient of large batches                         | a loop of matrix products (taps.py)                |
| kernel gradient of 1x1 convolutions                      | one matrix product                                 |

docs/performance.md has the measurements behind these rules.
"""

import jax
import jax.numpy as jnp
from jax import Array

from resnet_jax.models.conv import dense, packed, strided, taps
from resnet_jax.models.conv.dense import sum_dtype
from resnet_jax.models.conv.packed import NHWC

# dense.py is used for images of at most TINY pixels. For input gradients, it is used if the output has at most TINY
# pixels and the input at most SMALL.
TINY, SMALL = 4, 16
# Number of output channels that XLA needs to be fast. Twice as many if the input has fewer channels than FEW.
WIDE, FEW = 32, 8
# Smallest size N H W C of a batch whose kernel gradient is computed by taps.py.
LARGE_BATCH = 1 << 16


def value(x: Array, kernel: Array, *, stride: int, pad: int) -> Array:
    """Computes the convolution: x [N, H, W, C] and kernel [K, K, C, F] -> [N, H', W', F]."""
    if kernel.shape[0] > 1 and _positions(x) <= TINY:
        return dense.value(x, kernel, stride=stride, pad=pad)
    if stride == 1:
        return _at_stride_1(x, kernel, pad)
    y: Array = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=NHWC
    )
    return y


def input_gradient(dy: Array, kernel: Array, *, stride: int, pad: int, height: int, width: int) -> Array:
    """Computes the gradient of the input: dy [N, H', W', F] and kernel [K, K, C, F] -> [N, height, width, C]."""
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
    """The number of neighbouring output pixels that packed.py computes as one: 1, 2 or 4."""
    size, _, c, f = kernel_shape
    wide = WIDE if c >= FEW else 2 * WIDE
    fitting = [pack for pack in (4, 2) if pack * f <= wide and width_out % pack == 0 and width_out > pack]
    return fitting[0] if size > 1 and fitting else 1


def _turned(kernel: Array) -> Array:  # [K, K, C, F] -> [K, K, F, C]
    return jnp.flip(kernel, (0, 1)).swapaxes(2, 3)


def kernel_gradient(x: Array, dy: Array, *, stride: int, pad: int, size: int, groups: int) -> Array:
    """Computes the gradient of the kernel: x [N, H, W, C] and dy [N, H', W', F] -> [size, size, C, F].

    `groups` is the number of parts into which the batch may be divided over devices, a divisor of N.
    """
    if size == 1 and pad == 0:
        return pointwise_kernel_gradient(x, dy, stride=stride)
    if _positions(x) <= TINY:
        return dense.kernel_gradient(x, dy, stride=stride, pad=pad, size=size)
    if loop_pays(x.shape):
        return taps.kernel_gradient(x, dy, stride=stride, pad=pad, size=size, groups=groups)
    return ordered_kernel_gradient(x, dy, stride=stride, pad=pad, size=size)


def loop_pays(x_shape: tuple[int, ...]) -> bool:
    """Whether taps.py computes the kernel gradient of an input x [N, H, W, C].

    In measurements, taps.py was faster than XLA for all convolutions of the CIFAR and ImageNet nets. For small batches
    of small images it is not used, because it gains little there and takes longer to compile.
    """
    n, height, width, c = x_shape
    return n * height * width * c >= LARGE_BATCH


def pointwise_kernel_gradient(x: Array, dy: Array, *, stride: int) -> Array:
    """Computes the gradient of a 1x1 kernel with one product: x [N, H, W, C], dy [N, H', W', F] -> [1, 1, C, F]."""
    product = jax.lax.dot_general(
        x[:, ::stride, ::stride],
        dy,
        (((0, 1, 2), (0, 1, 2)), ((), ())),
        preferred_element_type=sum_dtype(x),
    )
    return product[None, None].astype(x.dtype)


# XLA's fast code for CPUs needs the order of axes of a plain convolution. JAX's gradients have other orders. XLA
# rearranges them in the outermost computation of a program, but not inside a loop, where they take up to thirty times
# as long. So the two functions below use the order of a plain convolution.


def ordered_input_gradient(dy: Array, kernel: Array, *, stride: int, pad: int, height: int, width: int) -> Array:
    """Computes the same result as `input_gradient`, with XLA's convolution in the order of axes that is fast."""
    size = kernel.shape[0]
    before = size - 1 - pad
    # lhs_dilation inserts zeros between the pixels of dy; the padding extends it to the size of the input.
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
    """Computes the same result as `kernel_gradient`, always with XLA's convolution, in its fast order of axes."""
    padding = [
        (pad, size + stride * (side_out - 1) - side - pad)
        for side, side_out in zip(x.shape[1:3], dy.shape[1:3], strict=True)
    ]
    # The axes of images and channels of x are exchanged: [C, H, W, N] * [H', W', N, F] -> [C, K, K, F].
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
