"""Measures the highest rates of a device, and computes the work of a step by formula.

Two rates are measured with JAX and, if it is installed, with PyTorch. The limit is the rate of the faster library.

- Matrix products: A A for an n x n matrix A of normal random numbers, in the dtype of the step; n^3 multiply-adds.
  (The numbers are random. With equal numbers a GPU needs less power, so its clock, and the rate, would be higher.)
- Memory: x <- x + 1 for an array far larger than any cache; the array is read once and written once.

The work of a step follows from five numbers:

- B: batch size;
- M: multiply-adds of the forward pass of one image;
- P: number of parameters, 4 bytes each;
- K: number of activations of one image that the backward pass needs, which are the inputs of convolutions and BNs
  (resnet_jax/models/cost.py);
- b: bytes of one activation.

| step  | multiply-adds | bytes          | the bytes consist of                                                        |
|-------|---------------|----------------|-----------------------------------------------------------------------------|
| eval  | M B           | 2 b B K + 4 P  | activations: one write, one read; parameters: one read                      |
| train | 3 M B         | 5 b B K + 28 P | activations: one write, two reads; their gradients: one write, one read;    |
|       |               |                | parameters: two reads, one write; parameters' gradients and velocities: one |
|       |               |                | write, one read                                                             |

A train step has 3 M B multiply-adds, because the backward pass has two products for each product of the forward pass:
for the gradients of the input and of the weights. The bytes assume that each pass visits each array once. Compiled
programs differ from this: BN may visit its input twice, for mean and variance, and fused layers need fewer visits.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from experiments.benchmark.spec import SEED, Dtype, Spec, has_torch, step_config
from resnet_jax.config import ExperimentConfig
from resnet_jax.models import cost

MATMUL, COPY = "matrix product", "memory"
JAX, TORCH = "jax", "torch"


# Sizes of the measured operations. Larger sizes are not faster.
MATRIX = {"cpu": 2048, "gpu": 8192}
"""Number of rows n of the matrices, by platform."""
ARRAY_BYTES = 2**28
"""Bytes of the float32 array for memory traffic: 256 MiB."""


def work(config: ExperimentConfig, phase: str, shape: tuple[int, int, int]) -> tuple[int, int]:
    """The multiply-adds and bytes of a step in the phase "train" or "eval"; `shape` is (height, width, channels)."""
    products = cost.total(config.model, shape).multiply_adds * config.train.batch_size
    memory = cost.memory(config, shape)
    if phase == "eval":
        return products, 2 * memory.activations + memory.parameters
    return 3 * products, 5 * memory.activations + 7 * memory.parameters


def libraries() -> list[str]:
    """The libraries that measure limits: JAX, and PyTorch if it is installed."""
    return [JAX, TORCH] if has_torch() else [JAX]


def specs(library: str, dtypes: Sequence[Dtype], *, steps: int, warmup: int, platform: str) -> list[Spec]:
    """Describes the contestants that measure the device's limits with one library.

    There is one contestant for matrix products in each dtype, and one for the pass over memory.

    Args:
      library: "jax" or "torch".
      dtypes: dtypes of the matrix products.
      steps: number of products or passes that are timed together.
      warmup: number of rounds before the timed rounds.
      platform: JAX's platform, "cpu" or "gpu", because PyTorch must use the same platform; "": any platform.
    """
    wanted = [(MATMUL, dtype) for dtype in dtypes]
    wanted.insert(1, (COPY, dtypes[0]))
    configs = [(f"{what}, {library}", step_config("resnet-20", 1, dtype)) for what, dtype in wanted]
    return [Spec("limit", name, config, "train", steps, warmup, platform) for name, config in configs]


class Limit:
    """Measures a limit of the device: its step is only a matrix product, or only a pass over memory."""

    def __init__(self, spec: Spec) -> None:
        what, library = spec.contestant.rsplit(", ", 1)
        self.steps, dtype = spec.steps, spec.config.model.dtype
        operation = _of_jax if library == JAX else _of_torch
        self._run, platform = operation(what, dtype, spec)
        self.amount = MATRIX[platform] ** 3 if what == MATMUL else 2 * ARRAY_BYTES

    def run(self) -> float:
        self._run()
        return 0.0

    def facts(self) -> dict[str, Any]:
        """The multiply-adds or bytes of one step."""
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
    # The argument is donated, because on a CPU the page faults of a new array would add to the time.
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
