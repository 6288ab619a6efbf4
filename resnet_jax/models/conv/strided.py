"""The input gradient of a strided convolution, one residue of the rows at a time.

XLA inserts zeros between the rows and columns of the output's gradient. With few channels, its CPU code for that
reaches a sixth of a core's speed. Here, s is the stride. Row r = s q + a of the input is only read by the taps i with i
= a + pad (mod s):

    dx[s q + a] = sum_m dy[q + t - m] kernel[i + s m],    i = (a + pad) mod s,    t = (a + pad - i) / s.

So for each residue a of the rows, a convolution of dy at stride 1 gives every s-th row. The residues of the columns are
packed into its channels, [N, H', W', (s, C)], which is the order of a row in memory (see packed.py).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from resnet_jax.models.conv.packed import NHWC


def input_gradient(dy: Array, kernel: Array, *, stride: int, pad: int, height: int, width: int) -> Array:
    """The input's gradient: dy [N, H', W', F] and kernel [K, K, C, F] -> [N, height, width, C], all in one dtype."""
    n, size, c = len(dy), kernel.shape[0], kernel.shape[2]
    rows, columns = -(-height // stride), -(-width // stride)
    # For each residue, the offsets t - m into dy and the taps there.
    reads = [{(a + pad - i) // stride: i for i in range((a + pad) % stride, size, stride)} for a in range(stride)]
    offsets = [t for of_residue in reads for t in of_residue]
    first, last = min(offsets), max(offsets)

    def wide(i: int) -> Array:
        """Tap i of the rows with the column taps of all residues side by side: [last - first + 1, F, stride C]."""
        none = jnp.zeros_like(kernel, shape=kernel.shape[2:])
        by_offset = [
            jnp.concatenate([kernel[i, taps[t]] if t in taps else none for taps in reads])
            for t in range(first, last + 1)
        ]
        return jnp.stack(by_offset).swapaxes(1, 2)

    def every_row(a: int) -> Array:
        if not reads[a]:
            return jnp.zeros_like(dy, shape=(n, rows, columns, stride * c))
        low, high = min(reads[a]), max(reads[a])
        window = jnp.stack([wide(reads[a][t]) for t in range(low, high + 1)])
        padding = [(-low, rows + high - dy.shape[1]), (-first, columns + last - dy.shape[2])]
        y: Array = jax.lax.conv_general_dilated(dy, window, (1, 1), padding, dimension_numbers=NHWC)
        return y

    # [N, rows, stride, columns, stride C]
    dx = jnp.stack([every_row(a) for a in range(stride)], axis=2)
    return dx.reshape(n, rows * stride, columns * stride, c)[:, :height, :width]
