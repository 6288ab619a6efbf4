"""The convolution against jax.lax's: values and gradients."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from resnet_jax.config import ModelConfig
from resnet_jax.models.conv import conv2d, cpu, primitives
from resnet_jax.models.resnet import build
from tests.models.conv.reference import Array, Conv, close, draw, function, lax_conv

# N, H, W, C, F, kernel, stride: of every kind of conv in the nets.
CIFAR = [
    (8, 32, 32, 3, 16, 3, 1),
    (8, 32, 32, 16, 16, 3, 1),
    (8, 32, 32, 16, 32, 3, 2),
    (16, 16, 16, 32, 32, 3, 1),
    (16, 16, 16, 32, 64, 3, 2),
    (32, 8, 8, 64, 64, 3, 1),
    (8, 32, 32, 16, 32, 1, 2),
    (8, 16, 16, 128, 32, 1, 1),
]

DIGITS = [
    (64, 8, 8, 1, 16, 3, 1),
    (64, 4, 4, 32, 64, 3, 2),
    (64, 2, 2, 64, 64, 3, 1),
]

IMAGENET = [
    (1, 56, 56, 3, 64, 7, 2),
    (1, 56, 56, 64, 64, 3, 1),
    (1, 28, 28, 64, 128, 3, 2),
    (2, 14, 14, 256, 256, 3, 1),
    (4, 7, 7, 256, 256, 3, 1),
    (2, 28, 28, 64, 256, 1, 1),
]

# Dense products: images of one to four positions, at stride 1 and 2, and input gradients that have no other.
TINY = [
    (8, 2, 2, 5, 6, 3, 1),
    (8, 1, 1, 5, 6, 3, 1),
    (8, 2, 2, 5, 6, 3, 2),
    (8, 4, 4, 5, 6, 3, 2),
    (8, 3, 3, 5, 6, 3, 2),
    (8, 1, 3, 5, 6, 3, 1),
    (8, 4, 1, 5, 6, 3, 2),
    (8, 2, 2, 3, 4, 5, 1),
    (8, 2, 2, 5, 6, 1, 1),
    (8, 2, 2, 5, 6, 1, 2),
]

# Few channels: four or two neighbouring outputs as one, at stride 1 and, in the input gradient, at stride 2 and 3.
PACKED = [
    (8, 8, 8, 8, 8, 3, 1),
    (8, 6, 6, 16, 16, 3, 1),
    (8, 5, 8, 1, 16, 3, 1),
    (8, 4, 8, 9, 7, 5, 1),
    (8, 8, 8, 8, 16, 3, 2),
    (8, 9, 7, 8, 16, 3, 2),
    (8, 8, 10, 4, 5, 5, 3),
    (8, 9, 9, 4, 5, 3, 4),
]

# Odd sizes, windows larger than the image, a prime number of images, a stride as large as the kernel.
ODD = [
    (7, 15, 13, 4, 5, 3, 2),
    (13, 9, 7, 4, 5, 5, 2),
    (8, 7, 7, 4, 5, 1, 2),
    (8, 3, 1, 3, 4, 5, 1),
    (8, 8, 7, 3, 4, 3, 3),
]


@pytest.fixture(autouse=True)
def always_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shapes here are small and take the matrix products all the same."""
    monkeypatch.setattr(cpu, "loop_pays", lambda *_: True)


def without_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the CPU nothing but XLA's own convolution."""
    monkeypatch.setattr(cpu, "loop_pays", lambda *_: False)
    monkeypatch.setattr(cpu, "outputs_packed", lambda *_: 1)
    monkeypatch.setattr(cpu, "WIDE", 0)


def check_beside_lax(shape: tuple[int, ...]) -> None:
    """Value and gradients in float64; gradients in float32 beside those in float64."""
    stride, pad = shape[-1], (shape[-2] - 1) // 2
    x, kernel = draw(shape, jnp.float64)
    ours, theirs = (
        jax.jit(jax.value_and_grad(function(conv, stride, pad), (0, 1)))(x, kernel) for conv in (conv2d, lax_conv)
    )
    close(ours, theirs)
    x32, kernel32 = x.astype(jnp.float32), kernel.astype(jnp.float32)

    def all_three(conv: Conv) -> Callable[[Array, Array], Any]:
        # Under a jit of its own: outside of jit a program is kept by shape, whatever `loop_pays` says by now.
        def f(x: Array, kernel: Array) -> Any:
            y, pull = jax.vjp(partial(conv, stride=stride, pad=pad), x, kernel)
            return y, pull(jnp.ones_like(y))

        return jax.jit(f)

    in_32 = jax.tree.map(lambda a: a.astype(jnp.float64), all_three(conv2d)(x32, kernel32))
    close(in_32, all_three(lax_conv)(x, kernel), 1e-5)


@pytest.mark.parametrize("shape", CIFAR + DIGITS + TINY + PACKED + IMAGENET + ODD, ids=str)
@pytest.mark.usefixtures("x64")
def test_value_and_gradients_are_those_of_lax(shape: tuple[int, ...]) -> None:
    check_beside_lax(shape)


@pytest.mark.parametrize("shape", [TINY[0], TINY[3], PACKED[0], PACKED[4]], ids=str)
def test_an_empty_batch_has_empty_values_and_a_kernel_gradient_of_zeros(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "loop_pays", lambda *_: False)  # as it says of an empty batch
    x, kernel = draw(shape, jnp.float32)
    y, pull = jax.vjp(partial(conv2d, stride=shape[-1], pad=1), x[:0], kernel)
    dx, dkernel = pull(y)
    expected = jax.eval_shape(partial(lax_conv, stride=shape[-1], pad=1), x, kernel)
    assert (y.shape, dx.shape) == ((0, *expected.shape[1:]), (0, *x.shape[1:]))
    np.testing.assert_array_equal(dkernel, np.zeros(kernel.shape))


def shapes_of(family: Any, depth: int, size: int, **changes: Any) -> set[tuple[int, ...]]:
    """Shapes of every convolution in a net on images [2, size, size, 3], as above."""
    model = build(ModelConfig(family=family, depth=depth, num_classes=10, **changes))
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    found: set[tuple[int, ...]] = set()

    def walk(jaxpr: Any) -> None:
        for equation in jaxpr.eqns:
            if equation.primitive is primitives._conv_p:
                x, kernel = (operand.aval.shape for operand in equation.invars)
                assert equation.params["pad"] == (kernel[0] - 1) // 2
                found.add((*x, kernel[-1], kernel[0], equation.params["stride"]))
            for inner in jaxprs_in_params(equation.params):
                walk(inner)

    walk(jax.make_jaxpr(lambda x: model.init_with_output(jax.random.key(0), x, train=False))(images).jaxpr)
    return found


def test_the_nets_have_no_other_kinds_of_convolutions() -> None:
    nets = [
        *(shapes_of("cifar", 8, 32, shortcut=option) for option in ("A", "B", "C")),
        shapes_of("cifar", 11, 32, shortcut="B", block="bottleneck"),
        *(shapes_of("imagenet", depth, 224, shortcut="B") for depth in (18, 50)),
    ]
    kinds = {shape[-2:] for shape in set().union(*nets)}  # kernel, stride
    assert kinds == {(3, 1), (3, 2), (1, 1), (1, 2), (7, 2)}
    assert kinds <= {shape[-2:] for shape in CIFAR + IMAGENET}


@pytest.mark.parametrize("shape", [CIFAR[1], CIFAR[2], DIGITS[0], IMAGENET[0], *ODD], ids=str)
@pytest.mark.usefixtures("x64")
def test_gradients_in_the_order_of_a_plain_convolution(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """XLA's own convolution, where nothing else pays."""
    without_others(monkeypatch)
    check_beside_lax(shape)


@pytest.mark.usefixtures("x64")
def test_a_window_of_one_pixel_with_padding() -> None:
    x, kernel = draw((3, 5, 4, 2, 3, 1, 2), jnp.float64)
    ours, theirs = (jax.grad(function(conv, 2, 1), (0, 1))(x, kernel) for conv in (conv2d, lax_conv))
    close(ours, theirs)


def test_without_jit() -> None:
    x, kernel = draw((2, 4, 4, 1, 2, 3, 1), jnp.float32)
    expected = jax.grad(function(conv2d, 1, 1), 1)(x, kernel)
    with jax.disable_jit():
        close(jax.grad(function(conv2d, 1, 1), 1)(x, kernel), expected, 1e-6)


@pytest.mark.parametrize(
    ("x", "kernel", "sentence"),
    [
        (((1, 4, 4, 2), "float32"), ((3, 3, 3, 1), "float32"), "legal: [N, H, W, C] and [K, K, C, F]"),
        (((1, 4, 4, 2), "float32"), ((3, 1, 2, 1), "float32"), "legal: [N, H, W, C] and [K, K, C, F]"),
        (((1, 4, 4, 2), "float32"), ((3, 3, 2, 1), "bfloat16"), "legal: one dtype"),
        (((1, 4, 4, 2), "float32"), ((7, 7, 2, 1), "float32"), "legal: a kernel not larger than x"),
    ],
    ids=["channels", "window", "dtype", "size"],
)
def test_what_does_not_go_together(x: Any, kernel: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        jax.eval_shape(partial(conv2d, stride=1, pad=1), jax.ShapeDtypeStruct(*x), jax.ShapeDtypeStruct(*kernel))


def test_in_a_loop_every_convolution_is_in_the_order_that_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """XLA:CPU's fast code is for NHWC and HWIO; outside loops it reorders by itself, in loops it does not."""
    without_others(monkeypatch)

    def loss_of(kernels: Array, x: Array, conv: Conv) -> Array:
        over = jax.lax.scan(lambda x, kernel: (conv(x, kernel, stride=1, pad=1), None), x, kernels)[0]
        return jnp.square(over).sum()

    def orders(conv: Conv) -> set[str]:
        gradient = jax.jit(jax.grad(partial(loss_of, conv=conv), (0, 1)))
        program = gradient.lower(jnp.ones((2, 3, 3, 4, 4)), jnp.ones((8, 8, 8, 4))).compile().as_text()
        return {word for word in program.split() if word.startswith("dim_labels=")}

    assert {order.rstrip(",") for order in orders(conv2d)} == {"dim_labels=b01f_01io->b01f"}
    assert len(orders(lax_conv)) > 1, "XLA:CPU reorders in loops now: the functions for it can go"


def test_bfloat16_sums_in_float32() -> None:
    # Sums of 2048 ones: bfloat16 would stop at 256.
    x, kernel = jnp.ones((32, 8, 8, 2), jnp.bfloat16), jnp.ones((3, 3, 2, 3), jnp.bfloat16)
    gradient = jax.grad(lambda kernel: conv2d(x, kernel, stride=1, pad=1).sum(dtype=jnp.float32))(kernel)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(gradient[1, 1], np.float32), 2048.0)
