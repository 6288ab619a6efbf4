"""The input gradient of a convolution with stride s > 1, as s convolutions at stride 1.

XLA inserts zeros between the rows and columns of dy, the gradient of the output. With few channels, this is slow on
CPUs. Here no zeros are inserted. The rows of the input are divided into s groups: group a, with 0 <= a < s, has the
rows a, a + s, a + 2 s and so on. The rows of group a are multiplied only by the kernel rows i, i + s, i + 2 s and so
on, where i = (a + pad) mod s. With t = (a + pad - i) / s, row q of group a has the gradient

    dx[s q + a] = sum_m dy[q + t - m] kernel[i + s m].

So one convolution of dy at stride 1 computes all rows of a group. For the columns, the s groups become channels. The
result for group a has the shape [N, ceil(H / s), ceil(W / s), (s, C)]: each pixel of the result has the channels of s
neighbouring pixels in a row of dx. In memory, a row of the result is in the order of a row of dx.
"""

import jax
import jax.numpy as jnp
from jax import Array

from resnet_jax.models.conv.packed import NHWC


def input_gradient(dy: Array, kernel: Array, *, stride: int, pad: int, height: int, width: int) -> Array:
    """Computes the input gradient: dy [N, H', W', F] and kernel [K, K, C, F] -> [N, height, width, C], in one dtype."""
    n, size, c = len(dy), kernel.shape[0], kernel.shape[2]
    rows, columns = -(-height // stride), -(-width // stride)
    # For each residue a: {offset t - m into dy: index i + s m of the kernel's row or column}.
    reads = [{(a + pad - i) // stride: i for i in range((a + pad) % stride, size, stride)} for a in range(stride)]
    offsets = [t for of_residue in reads for t in of_residue]
    first, last = min(offsets), max(offsets)

    def wide(i: int) -> Array:
        # Row i of the kernel, with separate channels for each residue of the columns: [last - first + 1, F, stride C].
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
