"""What the convolutions are compared with: jax.lax's own, on random arrays."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

Conv = Callable[..., Array]


def lax_conv(x: Array, kernel: Array, *, stride: int, pad: int) -> Array:
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, ((pad, pad),) * 2, dimension_numbers=numbers)


def draw(shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
    n, height, width, c, f, size, _ = shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, height, width, c)) + 0.5
    return jnp.asarray(x, dtype), jnp.asarray(rng.normal(size=(size, size, c, f)), dtype)


def function(conv: Conv, stride: int, pad: int) -> Callable[[Array, Array], Array]:
    """A number that depends on every output, each with a weight of its own."""

    def f(x: Array, kernel: Array) -> Array:
        y = conv(x, kernel, stride=stride, pad=pad)
        weights = jnp.cos(jnp.arange(y.size, dtype=jnp.float32).reshape(y.shape)).astype(y.dtype)
        return (weights * (y + jnp.asarray(0.01, y.dtype) * y * y)).sum()

    return f


def close(got: Any, expected: Any, tolerance: float = 1e-12) -> None:
    """Every array within `tolerance` of the largest number expected in it, and of its dtype."""

    def check(a: Array, b: Array) -> None:
        assert a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(b).max(), 1e-30))

    jax.tree.map(check, got, expected)
