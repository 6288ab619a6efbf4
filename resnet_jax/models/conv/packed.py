"""Convolution to few channels, with several neighbouring outputs computed as one with more channels.

XLA:CPU's convolution needs 32 output channels to be fast; with 16 it has half of that speed, with 8 a fifth. The images
are not changed. The kernel is copied `pack` times, side by side, each copy one column further to the right:

    wide[i, j, c, (t, f)] = kernel[i, j - t, c, f], or 0,    [K, K, C, F] -> [K, K + pack - 1, C, pack F].

At every `pack`-th column this gives the values of that column and of the next pack - 1 columns, in the order of the
output in memory. With K = 3, a pack of two has 4/3 of the products, and a pack of four twice as many.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

NHWC = ("NHWC", "HWIO", "NHWC")


def value(x: Array, kernel: Array, *, pad: int, pack: int) -> Array:
    """A convolution at stride 1: [N, H, W, C] and [K, K, C, F] to [N, H', W', F], all in one dtype.

    Args:
      pack: outputs computed as one; a divisor of W' = W + 2 pad - K + 1.
    """
    size, f = kernel.shape[0], kernel.shape[-1]
    height, width = (side + 2 * pad - size + 1 for side in x.shape[1:3])
    copies = [jnp.pad(kernel, ((0, 0), (t, pack - 1 - t), (0, 0), (0, 0))) for t in range(pack)]
    y = jax.lax.conv_general_dilated(
        x, jnp.concatenate(copies, axis=-1), (1, pack), ((pad, pad), (pad, pad)), dimension_numbers=NHWC
    )
    return y.reshape(len(x), height, width, f)
