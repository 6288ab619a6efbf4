"""The kernel gradient as matrix products over taps of rows and of columns.

XLA computes the kernel gradient as a convolution with a window as large as the image, for which its CPU code is slow.
Here it is a matrix product over the positions p of the images,

    dkernel[i, j, c, f] = sum_p x[p + (i, j), c] dy[p, f] = sum_p x[p + (0, j), c] dy[p - (i, 0), f],

of the K column taps of x with the K row taps of dy: [p, (j, c)] and [p, (i, f)]. This copies x and dy K times each,
where im2col would copy x K^2 times. The product has the shape K C x K F (48 x 48 for 16 channels), nearly square and so
fast; im2col's is K^2 C x F (144 x 16). With a stride, the rows of each remainder are taken together with the taps that
read them, so that no product with zeros is computed.

The sum runs over the batch in a loop, in chunks of a few images, so that the taps of a chunk stay in the cache.
docs/performance.md has the speeds.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from resnet_jax.models.conv.dense import sum_dtype

# Size limit of the taps of a chunk, which should stay in a core's cache, unless the product would become too short.
SCRATCH_BYTES = 1 << 19
# Positions (image, row, column) that a chunk's matrix product should sum over at least.
LONG_PRODUCT = 1024
# Up to this number of chunks there is no loop, because a loop would cost more than it gains.
WRITTEN_OUT = 4


def kernel_gradient(x: Array, dy: Array, *, stride: int, pad: int, size: int, groups: int) -> Array:
    """The kernel gradient as matrix products over chunks of images; see the module's docstring.

    Args:
      x: [N, H, W, C].
      dy: [N, H', W', F].
      groups: number of parts that the batch is divided into. The sums of the parts are added last. Divides N.

    Returns:
      [size, size, C, F] in the dtype of x; sums are float32 at least.
    """
    (n, height, _, c), (_, _, dy_width, f) = x.shape, dy.shape
    dtype = sum_dtype(x)
    # For row r of dy, tap i reads row stride * r + i - pad of x, which is row stride * (r + shift) + phase. The rows of
    # a phase are taken together. [(i, shift)] by phase:
    phases: dict[int, list[tuple[int, int]]] = {}
    for i in range(size):
        shift, phase = divmod(i - pad, stride)
        phases.setdefault(phase, []).append((i, shift))
    rows = {phase: max(0, -(-(height - phase) // stride)) for phase in phases}
    widest = size * max(c, f)
    chunk = _chunk(n // groups, positions=max(rows.values()) * dy_width, width=widest, itemsize=dtype.itemsize)

    def product_of(images: tuple[Array, Array]) -> dict[int, Array]:
        """A chunk's part of the sum, by phase; images: [groups, chunk, ...]."""
        x, dy = (part.astype(dtype) for part in images)
        products = {}
        for phase, taps in phases.items():
            # [groups, chunk, rows of the phase, W', (j, c)] and [.., (i, f)].
            columns = [_window(x[:, :, phase::stride], 3, j - pad, dy_width, stride) for j in range(size)]
            shifted = [_window(dy, 2, -shift, rows[phase], 1) for _, shift in taps]
            products[phase] = _product(jnp.concatenate(columns, -1), jnp.concatenate(shifted, -1))
        return products

    # Without the barrier, XLA may compute x and dy again for each copy of a tap.
    x, dy = jax.lax.optimization_barrier((x, dy))
    # [N, ...] -> [groups, steps, chunk, ...]. A batch that is divided over devices is divided along `groups`.
    split_x, split_dy = (images.reshape(groups, -1, chunk, *images.shape[1:]) for images in (x, dy))
    steps = n // groups // chunk
    if steps <= WRITTEN_OUT:
        parts = [product_of((split_x[:, step], split_dy[:, step])) for step in range(steps)]
        sums = jax.tree.map(lambda *of_steps: sum(of_steps[1:], of_steps[0]), *parts)
    else:
        zeros = {p: jnp.zeros_like(x, dtype, shape=(groups, size * c, len(taps) * f)) for p, taps in phases.items()}
        sums, _ = jax.lax.scan(
            lambda sums, images: (jax.tree.map(jnp.add, sums, product_of(images)), None),
            zeros,
            (jnp.moveaxis(split_x, 1, 0), jnp.moveaxis(split_dy, 1, 0)),
        )
    by_row: list[Array] = [jnp.zeros((size, c, f), dtype)] * size
    for phase, taps in phases.items():
        # [groups, size C, taps F] -> [taps, size, C, F]
        total = sums[phase].sum(axis=0).reshape(size, c, len(taps), f).transpose(2, 0, 1, 3)
        for k, (i, _) in enumerate(taps):
            by_row[i] = total[k]
    return jnp.stack(by_row).astype(x.dtype)


def _window(a: Array, axis: int, start: int, count: int, stride: int) -> Array:
    """`count` entries of an axis, every `stride`-th from `start` on; zeros outside the array."""
    last = start + stride * (count - 1)
    before, after = max(0, -start), max(0, last + 1 - a.shape[axis])
    padding = [(0, 0)] * a.ndim
    padding[axis] = (before, after)
    return jax.lax.slice_in_dim(jnp.pad(a, padding), start + before, last + 1 + before, stride, axis)


def _product(columns: Array, shifted: Array) -> Array:
    # [G, n, h, w, A] x [G, n, h, w, B] -> [G, A, B]. One group has no batch axis: XLA:CPU has faster code for that.
    (groups, *_, a), b = columns.shape, shifted.shape[-1]
    columns, shifted = columns.reshape(groups, -1, a), shifted.reshape(groups, -1, b)
    if groups == 1:
        return jax.lax.dot_general(columns[0], shifted[0], (((0,), (0,)), ((), ())))[None]
    return jax.lax.dot_general(columns, shifted, (((1,), (1,)), ((0,), (0,))))


def _chunk(n: int, *, positions: int, width: int, itemsize: int) -> int:
    """Images per chunk, a divisor of n: as many as fit the size limit, but enough for a long product."""
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    fit = max((d for d in divisors if d * positions * width * itemsize <= SCRATCH_BYTES), default=1)
    long = next((d for d in divisors if d * positions >= LONG_PRODUCT), n)
    return max(fit, long)
