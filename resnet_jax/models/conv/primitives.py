"""`conv2d` and its two gradients as JAX primitives.

They behave like the convolution of jax.lax under jit, grad, jvp, vmap, checkpoint, shard_map and pmap, in any
combination, and have derivatives of any order. On CPUs, cpu.py computes them; on other devices, XLA's convolution does.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import AxisType

from resnet_jax.models.conv import cpu
from resnet_jax.models.conv.packed import NHWC


def conv2d(x: Array, kernel: Array, *, stride: int, pad: int) -> Array:
    """Computes the convolution (cross-correlation) of images with a kernel.

    Args:
      x: [N, H, W, C], the images.
      kernel: [K, K, C, F], in the dtype of x.
      stride: stride along both axes.
      pad: zero padding on all four sides, in pixels.

    Returns:
      [N, (H + 2 pad - K) // stride + 1, (W + 2 pad - K) // stride + 1, F]

    Raises:
      ValueError: shapes or dtypes do not match.
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
        raise ValueError(
            f"conv2d: got x {x.shape}, padded by {pad}, and kernel {kernel.shape}; legal: a kernel not larger than x."
        )


# The three primitives are the partial derivatives of one trilinear form, sum(y * conv(x, kernel)):
#   conv(x, kernel) -> y, input_gradient(y, kernel) -> x, kernel_gradient(x, y) -> kernel.
# Each is linear in both operands, and its transposes are the other two. With primitives, all transformations of JAX
# work, to any order; a custom_vjp would not allow forward mode.


def _plain_conv(x: Array, kernel: Array, *, stride: int, pad: int) -> Array:
    y: Array = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=NHWC
    )
    return y


def _plain_input_gradient(dy: Array, kernel: Array, *, stride: int, pad: int, height: int, width: int) -> Array:
    # Only the type of these zeros is used. Under shard_map, the type must vary over the same axes as that of dy.
    x = jnp.zeros_like(dy, shape=(dy.shape[0], height, width, kernel.shape[2]))
    transpose = jax.linear_transpose(lambda x: _plain_conv(x, kernel, stride=stride, pad=pad), x)
    (dx,) = transpose(dy)
    return dx  # type: ignore[no-any-return]


def _plain_kernel_gradient(x: Array, dy: Array, *, stride: int, pad: int, size: int, groups: int) -> Array:
    del groups  # only cpu.py uses it
    kernel = jnp.zeros_like(x, shape=(size, size, x.shape[-1], dy.shape[-1]))
    transpose = jax.linear_transpose(lambda kernel: _plain_conv(x, kernel, stride=stride, pad=pad), kernel)
    (dkernel,) = transpose(dy)
    return dkernel  # type: ignore[no-any-return]


def _groups(n: int) -> int:
    """The number of parts into which jit may divide a batch of n images over devices."""
    if any(kind == AxisType.Manual for kind in jax.sharding.get_abstract_mesh().axis_types):
        return 1  # under shard_map and pmap, this code sees the images of one device
    count = jax.device_count()
    return count if n % count == 0 else 1


def _equally_varying(x: Array, kernel: Array) -> tuple[Array, Array]:
    # Under shard_map, both operands must vary over the same axes; jax.lax converts its operands in the same way.
    return _vary(x, _over(kernel) - _over(x)), _vary(kernel, _over(x) - _over(kernel))


def _over(a: Array) -> frozenset[str]:
    """The axes of a shard_map over which `a` varies; empty if check_vma is off, since JAX does not track them then."""
    return frozenset(getattr(getattr(jax.typeof(a), "manual_axis_type", None), "varying", ()))


def _vary(a: Array, over: frozenset[str]) -> Array:
    return jax.lax.pcast(a, tuple(sorted(over)), to="varying") if over else a


def _over_axes(function: Callable[..., Array]) -> Callable[..., Array]:
    """Returns a function that computes many convolutions with `function`, which computes one.

    The new function takes two arrays with `mapped` additional leading axes, whose index is the number of a convolution.
    """

    def over(a: Array, b: Array, *, mapped: int, **how: Any) -> Array:
        found: Callable[..., Array] = partial(function, **how)
        for _ in range(mapped):
            found = jax.vmap(found)
        return found(a, b)

    return over


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
        # The kernel is the same along the new axis, so the axis becomes part of the batch.
        images, kernel = jnp.moveaxis(operands[0], axes[0], 0), operands[1]
        y = primitive.bind(images.reshape(-1, *images.shape[2:]), kernel, mapped=0, **how)
        return y.reshape(*images.shape[:2], *y.shape[1:]), 0
    (length,) = {a.shape[axis] for a, axis in zip(operands, axes, strict=True) if axis is not None}
    operands = [batching.bdim_at_front(a, axis, length) for a, axis in zip(operands, axes, strict=True)]
    return primitive.bind(*operands, mapped=mapped + 1, **how), 0


def _primitive(
    name: str, function: Callable[..., Array], on_cpu: Callable[..., Array], shape: Callable[..., Any]
) -> Primitive:
    primitive = Primitive(name)
    # For calls outside jit: compiled once for each set of parameters.
    compiled = jax.jit(lambda operands, how: primitive.bind(*operands, **dict(how)), static_argnums=1)

    def alone(*operands: Array, **how: Any) -> Array:
        with jax.disable_jit(False):  # under disable_jit, `compiled` would call `alone` again, without end
            y: Array = compiled(operands, tuple(how.items()))
        return y

    primitive.def_impl(alone)
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, mlir.lower_fun(_over_axes(function), multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(_over_axes(on_cpu), multiple_results=False), "cpu")
    batching.primitive_batchers[primitive] = partial(_map, primitive)
    return primitive


_conv_p = _primitive("conv2d", _plain_conv, cpu.value, _conv_shape)
_input_gradient_p = _primitive(
    "conv2d_input_gradient", _plain_input_gradient, cpu.input_gradient, _input_gradient_shape
)
_kernel_gradient_p = _primitive(
    "conv2d_kernel_gradient", _plain_kernel_gradient, cpu.kernel_gradient, _kernel_gradient_shape
)
# The arguments are a primitive and its transposes in the first and in the second operand. A transpose is a function of
# the cotangent and both operands; for the operand whose cotangent it computes, it gets only the shape.
ad.defbilinear(_conv_p, _to_x, _to_kernel)
ad.defbilinear(_input_gradient_p, _to_y, lambda x, dy, kernel, **how: _to_kernel(dy, x, kernel, **how))
ad.defbilinear(
    _kernel_gradient_p,
    lambda kernel, x, dy, **how: _to_x(dy, x, kernel, **how),
    lambda kernel, x, dy, **how: _to_y(x, dy, kernel, **how),
)
