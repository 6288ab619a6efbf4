"""Times single convolutions: the value, the gradient of the images, and the gradient of the kernel.

The shapes are those in the papers' nets. This project's convolutions (resnet_jax/models/conv) are compared with JAX's
convolutions. Each is timed twice: called directly, and called inside `lax.map`. One process times all of them.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from experiments.benchmark.spec import CONVOLVERS, SEED, Spec
from resnet_jax.models.conv import conv2d

Part = Literal["value", "input gradient", "kernel gradient"]
WAYS = ("alone", "in a loop")


@dataclass(frozen=True)
class Shape:
    """A convolution of images [batch, size, size, channels] to `features` channels, with padding kernel // 2."""

    batch: int
    size: int
    channels: int
    features: int
    kernel: int
    stride: int = 1

    def __str__(self) -> str:
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        images = f"{self.batch} of {self.size}x{self.size}x{self.channels}"
        return f"{self.kernel}x{self.kernel}, {images} to {self.features}{stride}"


# Shapes in nets for digits and CIFAR (batch 128), and in nets for ImageNet (batch 8).
SHAPES = (
    Shape(128, 8, 1, 16, 3),
    Shape(128, 8, 16, 16, 3),
    Shape(128, 8, 16, 32, 3, stride=2),
    Shape(128, 4, 32, 32, 3),
    Shape(128, 4, 32, 64, 3, stride=2),
    Shape(128, 2, 64, 64, 3),
    Shape(128, 2, 64, 128, 3, stride=2),
    Shape(128, 1, 64, 64, 3),
    Shape(128, 8, 8, 8, 3),
    Shape(128, 4, 16, 16, 3),
    Shape(128, 2, 32, 32, 3),
    Shape(128, 8, 16, 32, 1, stride=2),
    Shape(128, 4, 32, 64, 1, stride=2),
    Shape(128, 4, 16, 16, 1),
    Shape(128, 16, 3, 16, 3),
    Shape(128, 16, 16, 16, 3),
    Shape(128, 4, 64, 64, 3),
    Shape(128, 32, 3, 16, 3),
    Shape(128, 32, 16, 16, 3),
    Shape(128, 32, 16, 32, 3, stride=2),
    Shape(128, 16, 32, 32, 3),
    Shape(128, 16, 32, 64, 3, stride=2),
    Shape(128, 8, 64, 64, 3),
    Shape(8, 224, 3, 64, 7, stride=2),
    Shape(8, 56, 64, 64, 3),
    Shape(8, 56, 256, 64, 1),
    Shape(8, 14, 256, 256, 3),
)
LOOP = 2
"""Number of convolutions that are timed together; each has other images and another kernel."""


def measure(spec: Spec) -> dict[str, dict[str, list[float]]]:
    """Times each convolution in `spec.steps` rounds.

    In each round, this project's convolution and JAX's are timed once each. Their order changes from round to round.

    Returns:
      {case: {library: seconds of one convolution in each round}}. A case is the text "SHAPE; PART; WAY":
      - SHAPE: one of `SHAPES`;
      - PART: what is computed, a value of `Part`;
      - WAY: how the convolution is called, one of `WAYS`.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for shape in SHAPES:
        for part in get_args(Part):
            for way in WAYS:
                operations = {side: operation(shape, part, way, side) for side in CONVOLVERS}
                for _ in range(spec.warmup):
                    for each in operations.values():
                        _time(*each)
                times: dict[str, list[float]] = {side: [] for side in CONVOLVERS}
                for turn in range(spec.steps):
                    for side in CONVOLVERS if turn % 2 else reversed(CONVOLVERS):
                        times[side].append(_time(*operations[side]) / LOOP)
                found[f"{shape}; {part}; {way}"] = times
    return found


def _time(compiled: Callable[[Any], Any], operands: Any) -> float:
    start = time.perf_counter()
    jax.block_until_ready(compiled(operands))
    return time.perf_counter() - start


def operation(shape: Shape, part: Part, way: str, side: str) -> tuple[Callable[[Any], Any], Any]:
    """Makes a jitted function that computes `LOOP` convolutions, and an argument for this function.

    Args:
      shape: the shape of each convolution.
      part: what the function computes: the value or one of the gradients.
      way: one of `WAYS`: "alone" calls the convolution directly, "in a loop" calls it inside `lax.map`.
      side: one of `CONVOLVERS`: the library of the convolution.

    Returns:
      The function, and the argument. The argument is a tuple of three float32 arrays: images [LOOP, N, H, W, C],
      kernels [LOOP, kernel, kernel, C, features], and gradients of the outputs [LOOP, N, H_out, W_out, features].
    """
    pad = shape.kernel // 2

    def straightforward(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y: jax.Array = jax.lax.conv_general_dilated(
            x, kernel, (shape.stride,) * 2, [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y

    conv = functools.partial(conv2d, stride=shape.stride, pad=pad) if side == CONVOLVERS[0] else straightforward

    def one(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> jax.Array:
        if part == "value":
            return conv(x, kernel)
        # The result does not use the value, so the compiled code does not compute it.
        gradients: tuple[jax.Array, jax.Array] = jax.vjp(conv, x, kernel)[1](dy)
        return gradients[part == "kernel gradient"]

    def all_of_them(operands: tuple[jax.Array, ...]) -> Any:
        if way == "alone":
            return [one(*(operand[i] for operand in operands)) for i in range(LOOP)]
        return jax.lax.map(lambda each: one(*each), operands)

    out = (shape.size + 2 * pad - shape.kernel) // shape.stride + 1
    keys = jax.random.split(jax.random.key(SEED), 3)
    shapes = (
        (shape.batch, shape.size, shape.size, shape.channels),
        (shape.kernel, shape.kernel, shape.channels, shape.features),
        (shape.batch, out, out, shape.features),
    )
    operands = tuple(jax.random.normal(key, (LOOP, *s), jnp.float32) for key, s in zip(keys, shapes, strict=True))
    return jax.jit(all_of_them), operands
