"""The kernel gradient of large batches, as matrix products.

XLA computes the kernel gradient as a convolution with a window as large as the image, which is slow on CPUs. Here it is
a matrix product that sums over the pixels p of all images (written for stride 1 without padding):

    dkernel[i, j, c, f] = sum_p x[p + (i, j), c] dy[p, f] = sum_p x[p + (0, j), c] dy[p - (i, 0), f].

One operand, [p, (j, c)], has K copies of x; copy j is shifted by j columns. The other operand, [p, (i, f)], has K
copies of dy; copy i is shifted by i rows. The result is a matrix with K C rows and K F columns: for K = 3, C = 16 and
F = 16, it is 48 x 48. It is nearly square, and such products are fast.

The usual algorithm, im2col, copies x K^2 times. Its result has K^2 C rows and F columns: 144 x 16 in the same example.

With a stride s, a kernel row multiplies only every s-th row of x. So the rows of x are divided into s groups: row r is
in group r mod s. Each group has its own matrix product, so that no product with zeros is computed.

A loop sums over chunks of a few images, so that the copies of a chunk stay in the CPU's cache. docs/performance.md has
the speeds.
"""

import jax
import jax.numpy as jnp
from jax import Array

from resnet_jax.models.conv.dense import sum_dtype

# Largest size of the copies of a chunk, which should stay in a core's cache. LONG_PRODUCT has priority.
SCRATCH_BYTES = 1 << 19
# Smallest number of pixels over which the matrix product of a chunk sums, because short sums are slow.
LONG_PRODUCT = 1024
# Up to this number of chunks, the loop is unrolled.
WRITTEN_OUT = 4


def kernel_gradient(x: Array, dy: Array, *, stride: int, pad: int, size: int, groups: int) -> Array:
    """Computes the kernel gradient: x [N, H, W, C] and dy [N, H', W', F] -> [size, size, C, F] in the dtype of x.

    The batch is divided into `groups` parts, whose sums are added last, so that each part may be on another device;
    `groups` divides N. Sums are computed in float32, or in float64 if x is float64.
    """
    (n, height, _, c), (_, _, dy_width, f) = x.shape, dy.shape
    dtype = sum_dtype(x)
    # Row i of the kernel multiplies row r of dy with row stride * r + i - pad of x, which is row stride * (r + shift) +
    # phase. The rows of x with the same phase are taken together: {phase: [(i, shift), ...]}.
    phases: dict[int, list[tuple[int, int]]] = {}
    for i in range(size):
        shift, phase = divmod(i - pad, stride)
        phases.setdefault(phase, []).append((i, shift))
    rows = {phase: max(0, -(-(height - phase) // stride)) for phase in phases}
    widest = size * max(c, f)
    chunk = _chunk(n // groups, positions=max(rows.values()) * dy_width, width=widest, itemsize=dtype.itemsize)

    def product_of(images: tuple[Array, Array]) -> dict[int, Array]:
        # images: (x, dy), each [groups, chunk, ...]
        x, dy = (part.astype(dtype) for part in images)
        products = {}
        for phase, taps in phases.items():
            # [groups, chunk, rows of the phase, W', (j, c)] and [.., (i, f)].
            columns = [_window(x[:, :, phase::stride], 3, j - pad, dy_width, stride) for j in range(size)]
            shifted = [_window(dy, 2, -shift, rows[phase], 1) for _, shift in taps]
            products[phase] = _product(jnp.concatenate(columns, -1), jnp.concatenate(shifted, -1))
        return products

    # Without the barrier, XLA may compute x and dy again for each copy.
    x, dy = jax.lax.optimization_barrier((x, dy))
    # [N, ...] -> [groups, steps, chunk, ...]. If the batch is divided over devices, it is divided along `groups`.
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
    """Takes `count` entries along an axis: every `stride`-th entry from `start` on, zeros outside the array."""
    last = start + stride * (count - 1)
    before, after = max(0, -start), max(0, last + 1 - a.shape[axis])
    padding = [(0, 0)] * a.ndim
    padding[axis] = (before, after)
    return jax.lax.slice_in_dim(jnp.pad(a, padding), start + before, last + 1 + before, stride, axis)


def _product(columns: Array, shifted: Array) -> Array:
    # [G, n, h, w, A] x [G, n, h, w, B] -> [G, A, B]. With one group, XLA is faster without a batch axis.
    (groups, *_, a), b = columns.shape, shifted.shape[-1]
    columns, shifted = columns.reshape(groups, -1, a), shifted.reshape(groups, -1, b)
    if groups == 1:
        return jax.lax.dot_general(columns[0], shifted[0], (((0,), (0,)), ((), ())))[None]
    return jax.lax.dot_general(columns, shifted, (((1,), (1,)), ((0,), (0,))))


def _chunk(n: int, *, positions: int, width: int, itemsize: int) -> int:
    """The number of images in a chunk: a divisor of n, limited by SCRATCH_BYTES and LONG_PRODUCT."""
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    fit = max((d for d in divisors if d * positions * width * itemsize <= SCRATCH_BYTES), default=1)
    long = next((d for d in divisors if d * positions >= LONG_PRODUCT), n)
    return max(fit, long)
