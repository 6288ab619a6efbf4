"""Which way a CPU computes a convolution, by shape; that all ways give the same is tested in test_primitives.py."""

import jax
import jax.numpy as jnp
import pytest

from resnet_jax.models.conv import conv2d, cpu
from tests.models.conv.reference import function


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((128, 32, 32, 3), True),  # CIFAR's stem
        ((128, 32, 32, 16), True),
        ((128, 8, 8, 64), True),
        ((8, 14, 14, 256), True),
        ((128, 8, 8, 16), True),  # digits
        ((128, 8, 8, 1), False),
        ((16, 8, 8, 16), False),
    ],
)
def test_the_kernel_gradient_is_a_product_where_that_is_faster(shape: tuple[int, ...], expected: bool) -> None:
    assert cpu.loop_pays(shape) == expected


@pytest.mark.parametrize(
    ("kernel", "width", "expected"),
    [
        ((3, 3, 16, 16), 8, 2),
        ((3, 3, 8, 8), 8, 4),
        ((3, 3, 1, 16), 8, 4),
        ((3, 3, 3, 16), 32, 4),
        ((3, 3, 16, 16), 7, 1),  # no two of seven
        ((3, 3, 8, 8), 4, 2),  # one output of four would be a whole row
        ((3, 3, 32, 32), 8, 1),
        ((1, 1, 16, 16), 8, 1),
    ],
)
def test_outputs_are_packed_to_32_channels(kernel: tuple[int, ...], width: int, expected: int) -> None:
    assert cpu.outputs_packed(kernel, width) == expected


def operations(shape: tuple[int, ...]) -> set[str]:
    """What a CPU's program for the value and the gradients consists of: "convolution", "dot_general"."""
    n, height, width, c, f, size, stride = shape
    pad = (size - 1) // 2
    x, kernel = jnp.ones((n, height, width, c)), jnp.ones((size, size, c, f))
    gradients = jax.jit(jax.value_and_grad(function(conv2d, stride, pad), (0, 1)))
    text = gradients.lower(x, kernel).as_text()
    return {name for name in ("convolution", "dot_general") if f"stablehlo.{name}" in text}


@pytest.mark.parametrize("shape", [(128, 2, 2, 64, 64, 3, 1), (128, 1, 1, 64, 64, 3, 1), (128, 2, 2, 64, 128, 3, 2)])
def test_tiny_images_take_dense_products_alone(shape: tuple[int, ...]) -> None:
    assert operations(shape) == {"dot_general"}
