"""Convolution of tiny images as one matrix product.

A convolution is linear in its images. So it is the product with a matrix D, which has a row for each input pixel p and
channel c, and a column for each output pixel q and channel f:

    y[n, (q, f)] = sum_(p, c) x[n, (p, c)] D[(p, c), (q, f)],    D[(p, c), (q, f)] = kernel[i, j, c, f],

where (i, j) is the kernel entry that multiplies input pixel p for output pixel q. D is 0 if there is no such entry.

In tiny images, most pairs (p, q) have a kernel entry. For example, a 3x3 convolution of 2x2 images has 4 * 4 = 16
pairs, all with an entry, so this algorithm needs 16 products for each pair of channels. The usual algorithm needs
4 * 9 = 36 products, because it also multiplies the zeros of the padding.

The input gradient is the product of dy and the transpose of D. The gradient of D is x^T dy. The gradient of a kernel
entry is a sum of numbers in x^T dy: one for each pair (p, q) that uses the entry.
"""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Sides = tuple[int, int]


def value(x: Array, kernel: Array, *, stride: int, pad: int) -> Array:
    """Computes the convolution: x [N, H, W, C] and kernel [K, K, C, F] -> [N, H', W', F], all in one dtype."""
    sides, out = (x.shape[1], x.shape[2]), _output_sides(x, kernel, stride, pad)
    matrix = _matrix(kernel, sides, out, stride, pad)
    y = jax.lax.dot_general(_rows(x), matrix, (((1,), (0,)), ((), ())))
    return y.reshape(len(x), *out, kernel.shape[-1])


def input_gradient(dy: Array, kernel: Array, *, stride: int, pad: int, height: int, width: int) -> Array:
    """Computes the input gradient: dy [N, H', W', F] and kernel [K, K, C, F] -> [N, height, width, C], in one dtype."""
    matrix = _matrix(kernel, (height, width), (dy.shape[1], dy.shape[2]), stride, pad)
    dx = jax.lax.dot_general(_rows(dy), matrix, (((1,), (1,)), ((), ())))
    return dx.reshape(len(dy), height, width, kernel.shape[-2])


def kernel_gradient(x: Array, dy: Array, *, stride: int, pad: int, size: int) -> Array:
    """Computes the kernel gradient: x [N, H, W, C] and dy [N, H', W', F] -> [size, size, C, F].

    The result has the dtype of x. Sums are computed in float32, or in float64 if x is float64.
    """
    dtype = sum_dtype(x)
    product = jax.lax.dot_general(_rows(x), _rows(dy), (((0,), (0,)), ((), ())), preferred_element_type=dtype)
    # [(H, W, C), (H', W', F)]: a block [C, F] for each pair of positions.
    blocks = product.reshape(*x.shape[1:], *dy.shape[1:])
    taps: dict[Sides, Array] = {}
    for p, q, tap in _pairs((x.shape[1], x.shape[2]), (dy.shape[1], dy.shape[2]), size, stride, pad):
        if tap is not None:
            block = blocks[p[0], p[1], :, q[0], q[1], :]
            taps[tap] = taps[tap] + block if tap in taps else block
    unused = jnp.zeros_like(product, shape=(x.shape[-1], dy.shape[-1]))
    rows = [jnp.stack([taps.get((i, j), unused) for j in range(size)]) for i in range(size)]
    return jnp.stack(rows).astype(x.dtype)


def sum_dtype(a: Array) -> Any:
    """The dtype in which numbers of `a` are summed: float64 if `a` is float64, otherwise float32."""
    return jnp.dtype(jnp.float64 if a.dtype == jnp.float64 else jnp.float32)


def _matrix(kernel: Array, sides: Sides, out: Sides, stride: int, pad: int) -> Array:
    """The matrix D of the module's docstring: [H W C, H' W' F]."""
    no_tap = jnp.zeros_like(kernel, shape=kernel.shape[2:])
    rows: dict[Sides, list[Array]] = {}
    for p, _, tap in _pairs(sides, out, kernel.shape[0], stride, pad):
        rows.setdefault(p, []).append(no_tap if tap is None else kernel[tap])
    return jnp.concatenate([jnp.concatenate(row, axis=1) for row in rows.values()])


def _pairs(sides: Sides, out: Sides, size: int, stride: int, pad: int) -> Iterator[tuple[Sides, Sides, Sides | None]]:
    """Yields (input pixel p, output pixel q, kernel entry or None) for all pairs, ordered by p and then by q."""
    for p in _positions(sides):
        for q in _positions(out):
            i, j = (a - stride * b + pad for a, b in zip(p, q, strict=True))
            yield p, q, (i, j) if 0 <= i < size and 0 <= j < size else None


def _positions(sides: Sides) -> Iterator[Sides]:
    height, width = sides
    return ((row, column) for row in range(height) for column in range(width))


def _output_sides(x: Array, kernel: Array, stride: int, pad: int) -> Sides:
    height, width = ((side + 2 * pad - kernel.shape[0]) // stride + 1 for side in x.shape[1:3])
    return height, width


def _rows(images: Array) -> Array:  # [N, H, W, C] -> [N, H W C]
    # The barrier prevents XLA from fusing the reshape with earlier operations, which would be slow in this shape.
    kept: Array = jax.lax.optimization_barrier(images)
    return kept.reshape(len(images), math.prod(images.shape[1:]))  # -1 is no size of an empty batch
