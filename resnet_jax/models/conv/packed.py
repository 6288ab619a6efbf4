"""Convolution with few output channels: neighbouring output pixels of a row are computed as one pixel with more
channels.

XLA's convolution on CPUs needs 32 output channels to be fast. With 16 channels it has half of that speed, and with 8
channels a fifth of it. So `pack` copies of the kernel, each shifted one column further to the right, form a kernel with
more channels:

    wide[i, j, c, (t, f)] = kernel[i, j - t, c, f], or 0 outside,    [K, K, C, F] -> [K, K + pack - 1, C, pack F].

A convolution with this kernel, at stride `pack` along a row, computes the outputs of `pack` neighbouring columns at
once. In memory, the numbers of its result are already in the order of the output, so only the shape is changed.

This convolution needs (K + pack - 1) / K times as many multiply-adds as the usual convolution. For K = 3, the factor
is 4/3 if pack = 2, and 2 if pack = 4.
"""

import jax
import jax.numpy as jnp
from jax import Array

NHWC = ("NHWC", "HWIO", "NHWC")


def value(x: Array, kernel: Array, *, pad: int, pack: int) -> Array:
    """Computes a convolution at stride 1: x [N, H, W, C] and kernel [K, K, C, F] -> [N, H', W', F], all in one dtype.

    `pack`, a divisor of W', is the number of output pixels that are computed as one.
    """
    size, f = kernel.shape[0], kernel.shape[-1]
    height, width = (side + 2 * pad - size + 1 for side in x.shape[1:3])
    copies = [jnp.pad(kernel, ((0, 0), (t, pack - 1 - t), (0, 0), (0, 0))) for t in range(pack)]
    y = jax.lax.conv_general_dilated(
        x, jnp.concatenate(copies, axis=-1), (1, pack), ((pad, pad), (pad, pad)), dimension_numbers=NHWC
    )
    return y.reshape(len(x), height, width, f)
