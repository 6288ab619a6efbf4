"""2-D convolution whose gradients are fast on CPUs too, and in loops.

The value and both gradients are XLA's own convolutions, on CPUs with their axes in the order that XLA:CPU has fast code
for. Only the kernel's gradient of large batches is another on CPUs, where XLA's costs more than all else in a train
step. XLA takes it for a convolution with a window as large as the image, after
two transposes, and its CPU code is not made for such windows. Here it is a matrix product, over every position p of
the images,

    dkernel[i, j, c, f] = sum_p x[p + (i, j), c] dy[p, f] = sum_p x[p + (0, j), c] dy[p - (i, 0), f],

of the K column taps of x with the K row taps of dy: [p, (j, c)] and [p, (i, f)]. Writing the taps out on both sides
copies x and dy K times each, where im2col would copy x K^2 times, and makes the product K C x K F (48 x 48 for 16
channels), square enough to run near the speed of a large one, where im2col's is K^2 C x F (144 x 16). With a stride,
rows are taken by their remainder, each with the taps that read it, so that nothing is multiplied in vain.

It goes over the batch in chunks of a few images, in a loop, through one scratch that stays in the cache. Each tap is
written in place at its offset; what no tap writes is the zero padding, written once.

How much that gains depends on the processor: of the time of XLA's own, for the shapes of CIFAR's and ImageNet's nets,
it takes a twelfth to a half without AVX-512 (one core of a Zen 3), and one to a half with it, the stems apart, where
XLA's is faster then (docs/performance.md). In a loop XLA's takes 20 to 150 times as long on either.

`conv2d` and its two gradients are primitives of JAX, each linear in both operands: under jit, grad, jvp, vmap,
checkpoint, shard_map and pmap, in any order and to any order of derivative, they behave as jax.lax's convolution does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import AxisType

Array = jax.Array
Shape = tuple[int, ...]

NHWC = ("NHWC", "HWIO", "NHWC")
# What the scratch of one chunk may take where its product stays long enough: it should stay in a core's cache.
SCRATCH_BYTES = 1 << 20
# Positions (image, row, column) that a chunk's matrix product should sum over at least.
LONG_PRODUCT = 1024
# Positions times channels of a batch from which on the kernel gradient is worth a loop of its own.
WORTH_IT = 1 << 18


def conv2d(x: Array, kernel: Array, *, stride: int, pad: int) -> Array:
    """The convolution (cross-correlation) of x and kernel, zero-padded by `pad` on all four sides.

    Args:
      x: [N, H, W, C].
      kernel: [K, K, C, F], in the dtype of x.
      stride: of both axes.

    Returns:
      [N, (H + 2 pad - K) // stride + 1, (W + 2 pad - K) // stride + 1, F]

    Raises:
      ValueError: shapes or dtypes that do not go together.
    """
    _check(x, kernel, pad)
    x, kernel = _equally_varying(x, kernel)
    y: Array = _conv_p.bind(x, kernel, stride=stride, pad=pad, mapped=0)
    return y


def _check(x: Array, kernel: Array, pad: int) -> None:
    if x.ndim != 4 or kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1] or kernel.shape[2] != x.shape[3]:
        raise ValueError(f"conv2d: got x {x.shape} and kernel {kernel.shape}; legal: [N, H, W, C] and [K, K, C, F].")
    if x.dtype != kernel.dtype:
        raise ValueError(f"conv2d: got x in {x.dtype} and the kernel in {kernel.dtype}; legal: one dtype.")
    if min(x.shape[1:3]) + 2 * pad < kernel.shape[0]:
        raise ValueError(f"conv2d: got x {x.shape}, padded by {pad}, and kernel {kernel.shape}; legal: one that fits.")


# Three primitives, the three sides of one trilinear form sum(y * conv(x, kernel)), each linear in both its operands:
#   conv(x, kernel) -> y, input_gradient(y, kernel) -> x, kernel_gradient(x, y) -> kernel.
# The transposes of each are the other two. A custom_vjp would forbid forward mode; with primitives all of JAX's
# transformations compose, to any order.


def _plain_conv(x: Array, kernel: Array, *, stride: int, pad: int) -> Array:
    y: Array = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=NHWC
    )
    return y


def _plain_input_gradient(dy: Array, kernel: Array, *, stride: int, pad: int, height: int, width: int) -> Array:
    # Zeros like dy: only their type is used, but under shard_map it says that they vary over devices as dy does.
    x = jnp.zeros_like(dy, shape=(dy.shape[0], height, width, kernel.shape[2]))
    transpose = jax.linear_transpose(lambda x: _plain_conv(x, kernel, stride=stride, pad=pad), x)
    (dx,) = transpose(dy)
    return dx  # type: ignore[no-any-return]


def _plain_kernel_gradient(x: Array, dy: Array, *, stride: int, pad: int, size: int) -> Array:
    kernel = jnp.zeros_like(x, shape=(size, size, x.shape[-1], dy.shape[-1]))
    transpose = jax.linear_transpose(lambda kernel: _plain_conv(x, kernel, stride=stride, pad=pad), kernel)
    (dkernel,) = transpose(dy)
    return dkernel  # type: ignore[no-any-return]


# The same two with their axes in the order of a plain convolution. XLA:CPU has fast code for that order only, and
# rearranges what JAX gives it, but in a program's outermost computation alone: in a loop it does not, and the gradients
# above take up to thirty times as long there.


def _ordered_input_gradient(dy: Array, kernel: Array, *, stride: int, pad: int, height: int, width: int) -> Array:
    size = kernel.shape[0]
    before = size - 1 - pad
    # Of dy, spread out by the stride, and as many zeros after it as give the input's size.
    padding = [
        (before, out - stride * (side - 1) - 1 + size - 1 - before)
        for out, side in ((height, dy.shape[1]), (width, dy.shape[2]))
    ]
    dx: Array = jax.lax.conv_general_dilated(
        dy,
        jnp.flip(kernel, (0, 1)).swapaxes(2, 3),
        (1, 1),
        padding,
        lhs_dilation=(stride, stride),
        dimension_numbers=NHWC,
    )
    return dx


def _ordered_kernel_gradient(x: Array, dy: Array, *, stride: int, pad: int, size: int) -> Array:
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


def _fast_kernel_gradient(x: Array, dy: Array, *, stride: int, pad: int, size: int, groups: int) -> Array:
    """The kernel gradient as matrix products over chunks of images; see the module's docstring.

    Args:
      x: [N, H, W, C].
      dy: [N, H', W', F].
      groups: of consecutive images that are summed apart until the end; divides N.

    Returns:
      [size, size, C, F] in the dtype of x; sums are float32 at least.
    """
    (n, height, width, c), (_, dy_height, dy_width, f) = x.shape, dy.shape
    dtype = jnp.dtype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)
    if size == 1 and pad == 0:
        # [N, H', W', C] x [N, H', W', F] -> [C, F]
        product = jax.lax.dot_general(
            x[:, ::stride, ::stride], dy, (((0, 1, 2), (0, 1, 2)), ((), ())), preferred_element_type=dtype
        )
        return product.reshape(1, 1, c, f).astype(x.dtype)

    # Tap i reads row stride * r + i - pad of x for row r of dy: row `stride * (r + shift) + phase`, of which the rows
    # of one phase are taken together. [(i, shift)] by phase:
    phases: dict[int, list[tuple[int, int]]] = {}
    for i in range(size):
        shift, phase = divmod(i - pad, stride)
        phases.setdefault(phase, []).append((i, shift))
    rows = {phase: max(0, -(-(height - phase) // stride)) for phase in phases}

    chunk = _chunk(
        n // groups, positions=max(rows.values()) * dy_width, width=size * max(c, f), itemsize=dtype.itemsize
    )

    def chunks(images: Array) -> Array:
        # [N, ...] -> [steps, groups, chunk, ...]. A batch that is split over devices stays so, along `groups`.
        return jnp.moveaxis(images.reshape(groups, -1, chunk, *images.shape[1:]), 1, 0)

    def zeros(*shape: int) -> Array:
        return jnp.zeros_like(x, dtype, shape=(groups, *shape))

    # Outside what each tap writes, the scratch stays zero: the padding, written once.
    columns = {p: zeros(chunk, rows[p], dy_width, size * c) for p in phases}
    shifted = {p: zeros(chunk, rows[p], dy_width, len(taps) * f) for p, taps in phases.items()}
    sums = {p: zeros(size * c, len(taps) * f) for p, taps in phases.items()}

    def add_chunk(carry: Any, images: tuple[Array, Array]) -> tuple[Any, None]:
        columns, shifted, sums = (dict(part) for part in carry)
        x, dy = (part.astype(dtype) for part in images)
        for phase, taps in phases.items():
            for j in range(size):
                first, last = _overlap(dy_width, width, stride, j - pad)
                at = stride * first + j - pad
                if last > first:
                    part = x[:, :, phase::stride, at : at + stride * (last - first - 1) + 1 : stride]
                    columns[phase] = _write(columns[phase], part, (0, 0, 0, first, j * c))
            for k, (_, shift) in enumerate(taps):
                first, last = max(0, -shift), min(dy_height, rows[phase] - shift)
                if last > first:
                    shifted[phase] = _write(shifted[phase], dy[:, :, first:last], (0, 0, first + shift, 0, k * f))
            sums[phase] = sums[phase] + _product(columns[phase], shifted[phase])
        return (columns, shifted, sums), None

    (_, _, sums), _ = jax.lax.scan(add_chunk, (columns, shifted, sums), (chunks(x), chunks(dy)))
    by_row: list[Array] = [jnp.zeros((size, c, f), dtype)] * size
    for phase, taps in phases.items():
        # [groups, size C, taps F] -> [taps, size, C, F]
        total = sums[phase].sum(axis=0).reshape(size, c, len(taps), f).transpose(2, 0, 1, 3)
        for k, (i, _) in enumerate(taps):
            by_row[i] = total[k]
    return jnp.stack(by_row).astype(x.dtype)


def _product(columns: Array, shifted: Array) -> Array:
    # [G, n, h, w, A] x [G, n, h, w, B] -> [G, A, B]. One group: without a batch axis, which would go another way.
    (groups, *_, a), b = columns.shape, shifted.shape[-1]
    columns, shifted = columns.reshape(groups, -1, a), shifted.reshape(groups, -1, b)
    if groups == 1:
        return jax.lax.dot_general(columns[0], shifted[0], (((0,), (0,)), ((), ())))[None]
    return jax.lax.dot_general(columns, shifted, (((1,), (1,)), ((0,), (0,))))


def _write(into: Array, part: Array, at: tuple[int, ...]) -> Array:
    return jax.lax.dynamic_update_slice(into, part, at)


def _overlap(size: int, size_in: int, stride: int, offset: int) -> tuple[int, int]:
    """The range of r in [0, size) for which stride * r + offset is in [0, size_in)."""
    return max(0, -(offset // stride)), min(size, -(-(size_in - offset) // stride))


def _worth_it(x_shape: Shape, dy_shape: Shape, size: int) -> bool:
    """Whether the matrix products beat XLA's own kernel gradient on a CPU, as far as was measured.

    They did for all of CIFAR's and ImageNet's convs, but for maps of 4x4 and less, where they took up to 1.3 times as
    long (each tap writes too little at a time). Of small batches and small images, such as digits', there is little
    to gain, and a loop takes longer to compile.
    """
    n, height, width, _ = dy_shape
    return n * height * width * x_shape[-1] >= WORTH_IT and (size == 1 or height * width > 16)


def _chunk(n: int, *, positions: int, width: int, itemsize: int) -> int:
    """Images per chunk, a divisor of n: as many as fit the scratch, but as many as a long product needs."""
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    fit = max((d for d in divisors if d * positions * width * itemsize <= SCRATCH_BYTES), default=1)
    long = next((d for d in divisors if d * positions >= LONG_PRODUCT), n)
    return max(fit, long)


def _groups(n: int) -> int:
    """Into how many parts the batch may be split over devices without this code seeing it."""
    if any(kind == AxisType.Manual for kind in jax.sharding.get_abstract_mesh().axis_types):
        return 1  # shard_map and pmap: what is seen is one device's.
    count = jax.device_count()
    return count if n % count == 0 else 1


def _equally_varying(x: Array, kernel: Array) -> tuple[Array, Array]:
    # Under shard_map, an operand that is the same on all devices is marked as one that may differ, as lax does.
    return _vary(x, _over(kernel) - _over(x)), _vary(kernel, _over(x) - _over(kernel))


def _over(a: Array) -> frozenset[str]:
    """The axes of a shard_map over which `a` is known to vary; none where it does not keep account (check_vma)."""
    return frozenset(getattr(getattr(jax.typeof(a), "manual_axis_type", None), "varying", ()))


def _vary(a: Array, over: frozenset[str]) -> Array:
    return jax.lax.pcast(a, tuple(sorted(over)), to="varying") if over else a


def _times(function: Callable[..., Array], mapped: int) -> Callable[..., Array]:
    for _ in range(mapped):
        function = jax.vmap(function)
    return function


def _conv(x: Array, kernel: Array, *, mapped: int, **how: Any) -> Array:
    return _times(partial(_plain_conv, **how), mapped)(x, kernel)


def _input_gradient(dy: Array, kernel: Array, *, mapped: int, **how: Any) -> Array:
    return _times(partial(_plain_input_gradient, **how), mapped)(dy, kernel)


def _input_gradient_on_cpu(dy: Array, kernel: Array, *, mapped: int, **how: Any) -> Array:
    return _times(partial(_ordered_input_gradient, **how), mapped)(dy, kernel)


def _kernel_gradient(x: Array, dy: Array, *, mapped: int, groups: int, **how: Any) -> Array:
    return _times(partial(_plain_kernel_gradient, **how), mapped)(x, dy)


def _kernel_gradient_on_cpu(x: Array, dy: Array, *, mapped: int, groups: int, size: int, **how: Any) -> Array:
    one = partial(_ordered_kernel_gradient, size=size, **how)
    if _worth_it(x.shape[mapped:], dy.shape[mapped:], size):
        one = partial(_fast_kernel_gradient, groups=groups, size=size, **how)
    return _times(one, mapped)(x, dy)


def _conv_shape(x: Any, kernel: Any, *, stride: int, pad: int, mapped: int) -> Any:
    *lead, height, width, _ = x.shape
    size, f = kernel.shape[-3], kernel.shape[-1]
    out = ((side + 2 * pad - size) // stride + 1 for side in (height, width))
    return x.update(shape=(*lead, *out, f), weak_type=False)


def _input_gradient_shape(dy: Any, kernel: Any, *, height: int, width: int, mapped: int, **_: int) -> Any:
    return dy.update(shape=(*dy.shape[: mapped + 1], height, width, kernel.shape[-2]), weak_type=False)


def _kernel_gradient_shape(x: Any, dy: Any, *, size: int, mapped: int, **_: int) -> Any:
    return x.update(shape=(*x.shape[:mapped], size, size, x.shape[-1], dy.shape[-1]), weak_type=False)


def _to_x(dy: Array, x: Any, kernel: Array, *, stride: int, pad: int, mapped: int, **_: int) -> Array:
    height, width = x.aval.shape[-3:-1]
    dx: Array = _input_gradient_p.bind(dy, kernel, stride=stride, pad=pad, mapped=mapped, height=height, width=width)
    return dx


def _to_y(x: Array, _: Any, kernel: Array, *, stride: int, pad: int, mapped: int, **__: int) -> Array:
    y: Array = _conv_p.bind(x, kernel, stride=stride, pad=pad, mapped=mapped)
    return y


def _to_kernel(dy: Array, x: Array, kernel: Any, *, stride: int, pad: int, mapped: int, **_: int) -> Array:
    size, groups = kernel.aval.shape[-3], _groups(x.shape[mapped])
    dkernel: Array = _kernel_gradient_p.bind(x, dy, stride=stride, pad=pad, mapped=mapped, size=size, groups=groups)
    return dkernel


def _map(primitive: Primitive, operands: Any, axes: Any, *, mapped: int, **how: int) -> tuple[Array, int]:
    shared_kernel = primitive is not _kernel_gradient_p and axes[1] is None and mapped == 0
    if shared_kernel:
        images, kernel = jnp.moveaxis(operands[0], axes[0], 0), operands[1]  # One kernel: more images.
        y = primitive.bind(images.reshape(-1, *images.shape[2:]), kernel, mapped=0, **how)
        return y.reshape(*images.shape[:2], *y.shape[1:]), 0
    (length,) = {a.shape[axis] for a, axis in zip(operands, axes, strict=True) if axis is not None}
    operands = [batching.bdim_at_front(a, axis, length) for a, axis in zip(operands, axes, strict=True)]
    return primitive.bind(*operands, mapped=mapped + 1, **how), 0


def _primitive(
    name: str, function: Callable[..., Array], on_cpu: Callable[..., Array], shape: Callable[..., Any]
) -> Primitive:
    primitive = Primitive(name)
    # Outside jit: compiled once for each way. Under disable_jit it would come back here for ever.
    compiled = jax.jit(lambda operands, how: primitive.bind(*operands, **dict(how)), static_argnums=1)

    def alone(*operands: Array, **how: Any) -> Array:
        with jax.disable_jit(False):
            y: Array = compiled(operands, tuple(how.items()))
        return y

    primitive.def_impl(alone)
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(on_cpu, multiple_results=False), "cpu")
    batching.primitive_batchers[primitive] = partial(_map, primitive)
    return primitive


_conv_p = _primitive("conv2d", _conv, _conv, _conv_shape)
_input_gradient_p = _primitive("conv2d_input_gradient", _input_gradient, _input_gradient_on_cpu, _input_gradient_shape)
_kernel_gradient_p = _primitive(
    "conv2d_kernel_gradient", _kernel_gradient, _kernel_gradient_on_cpu, _kernel_gradient_shape
)
# Each with its transposes in its first and its second operand: functions of the cotangent and of both operands, of
# which the one sought is known by its shape only.
ad.defbilinear(_conv_p, _to_x, _to_kernel)
ad.defbilinear(
    _input_gradient_p,
    lambda x, dy, kernel, **how: _to_y(x, dy, kernel, **how),
    lambda x, dy, kernel, **how: _to_kernel(dy, x, kernel, **how),
)
ad.defbilinear(
    _kernel_gradient_p,
    lambda kernel, x, dy, **how: _to_x(dy, x, kernel, **how),
    lambda kernel, x, dy, **how: _to_y(x, dy, kernel, **how),
)
