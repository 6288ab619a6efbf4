"""Measures the limits of a device, and computes the work of a step by formula.

Matrix products: C = A A of a square matrix of normal random numbers, in the dtype of the step; n^3 multiply-adds. (With
equal numbers a GPU would be faster: it needs less power and so keeps a higher clock.)
Memory: x <- x + 1 in place, over an array far larger than any cache; the array is read once and written once.
JAX measures both, and so does PyTorch if it is installed; the limit is the faster of the two.

A batch has B images, a number b bytes, and each of the P parameters 4 bytes. The backward pass needs K numbers for each
image: the inputs of every convolution and every BN (resnet_jax/models/cost.py). Then a step needs

    multiply-adds   eval: M B, with M of one image's forward pass; train: 3 M B, since each product of the forward pass
                    has two of its size in the backward pass, for the gradients of input and of weights
    bytes           eval: 2 b B K + 4 P. Each layer reads its input, which some layer has written.
                    train: 5 b B K + 28 P. The backward pass reads each input again, and writes and reads its gradient;
                    parameters are read in both passes, gradients written and read, velocities and parameters updated.

These bytes assume that a step passes over memory once for each layer and pass. BN by itself passes over its input
twice, for the mean and the variance. A compiler that joins layers needs fewer passes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.benchmark.spec import SEED, Dtype, Spec, has_torch, step_config
from resnet_jax.config import ExperimentConfig
from resnet_jax.models import cost

MATMUL, COPY = "matrix product", "memory"
JAX, TORCH = "jax", "torch"


# Sizes of the measured operations, so large that larger ones are not faster.
MATRIX = {"cpu": 2048, "gpu": 8192}
"""Rows of the square matrices, by platform."""
ARRAY_BYTES = 2**28
"""Number of float32 values in the array for memory traffic: 256 MiB."""


@dataclass(frozen=True)
class Asked:
    """The work of a step: multiply-adds and bytes."""

    multiply_adds: int
    bytes: int


def asked(config: ExperimentConfig, phase: str, shape: tuple[int, int, int]) -> Asked:
    """The work of a step by the formulas above. `shape` is the height, width and channels of an image."""
    products = cost.total(config.model, shape).multiply_adds * config.train.batch_size
    memory = cost.memory(config, shape)
    if phase == "eval":
        return Asked(products, 2 * memory.activations + memory.parameters)
    return Asked(3 * products, 5 * memory.activations + 7 * memory.parameters)


def libraries() -> list[str]:
    """The installed libraries that measure limits."""
    return [JAX, TORCH] if has_torch() else [JAX]


def specs(library: str, dtypes: Sequence[Dtype], *, steps: int, warmup: int, platform: str) -> list[Spec]:
    """The tasks of a library: products in each dtype, and passes over memory once, since dtypes do not matter there."""
    wanted = [(MATMUL, dtype) for dtype in dtypes]
    wanted.insert(1, (COPY, dtypes[0]))
    configs = [(f"{what}, {library}", step_config("resnet-20", 1, dtype)) for what, dtype in wanted]
    return [Spec("limit", name, config, "train", steps, warmup, platform) for name, config in configs]


class Limit:
    """A contestant whose step is a matrix product or a pass over memory."""

    def __init__(self, spec: Spec) -> None:
        what, library = spec.contestant.rsplit(", ", 1)
        self.steps, dtype = spec.steps, spec.config.model.dtype
        operation = _of_jax if library == JAX else _of_torch
        self._run, platform = operation(what, dtype, spec)
        self.amount = MATRIX[platform] ** 3 if what == MATMUL else 2 * ARRAY_BYTES

    def run(self) -> float:
        """See Contestant."""
        self._run()
        return 0.0

    def facts(self) -> dict[str, Any]:
        """Multiply-adds or bytes of one step."""
        return {"amount": self.amount}


def _of_jax(what: str, dtype: str, spec: Spec) -> tuple[Callable[[], None], str]:
    import jax
    import jax.numpy as jnp

    platform = "cpu" if jax.default_backend() == "cpu" else "gpu"
    if what == MATMUL:
        n = MATRIX[platform]
        a = jax.random.normal(jax.random.key(SEED), (n, n), jnp.float32).astype(jnp.dtype(dtype))
        product = jax.jit(jnp.dot)

        def multiply() -> None:
            for _ in range(spec.steps):
                c = product(a, a)
            c.block_until_ready()

        return multiply, platform
    # Donated, since on a CPU page faults of a new array would add to the time.
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    held = [jnp.zeros(ARRAY_BYTES // 4, jnp.float32)]

    def touch() -> None:
        for _ in range(spec.steps):
            held[0] = add(held[0])
        held[0].block_until_ready()

    return touch, platform


def _of_torch(what: str, dtype: str, spec: Spec) -> tuple[Callable[[], None], str]:
    torch: Any = importlib.import_module("torch")
    torch.backends.cuda.matmul.allow_tf32 = True
    platform = spec.platform or "cpu"
    device = torch.device("cuda" if platform == "gpu" else "cpu")
    n = MATRIX[platform]
    torch.manual_seed(SEED)
    a = torch.randn((n, n), device=device).to(getattr(torch, dtype))
    x = torch.zeros(ARRAY_BYTES // 4, device=device)

    def run() -> None:
        for _ in range(spec.steps):
            out = torch.mm(a, a) if what == MATMUL else x.add_(1)
        out[0].max().item()  # waits for the device

    return run, platform
