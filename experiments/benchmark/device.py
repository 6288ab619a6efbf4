"""Facts about the device: driver, memory, libraries, and the precision of its float32 products.

A GPU's matrix units may round the inputs of a float32 product to fewer bits: TensorFloat-32 (TF32) has 10 bits of
mantissa. A product and a convolution are compared with float64 results of the host, to find the precision.
"""

import importlib.metadata
import re
import subprocess
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.spec import SEED, Spec

LIBRARIES = re.compile(r"jax[-_]cuda.*|jax[-_]rocm.*|nvidia[-_](cudnn|cublas|cuda[-_]runtime|nccl).*|torch|triton")
"""Names of Python packages whose versions matter on a GPU; every record has the versions of further packages."""
QUERY = ("name", "driver_version", "memory.total", "power.limit", "clocks.max.sm", "clocks.max.memory", "compute_cap")
"""Properties to query with nvidia-smi."""
SMI_SECONDS = 20.0
PRECISIONS = ("default", "high", "highest")
"""Values of JAX's argument `precision` for products."""


# The error is measured for a product of square matrices with this number of rows, and for a 3x3 convolution.
SIZE, IMAGES = 512, (4, 16, 16, 32)
ARITHMETICS = {"float32": 1e-5, "TF32": 1e-3, "bfloat16": 1e-2}
"""Upper bounds of the relative error ||out - exact|| / ||exact|| of a product, for each arithmetic.

An input rounded to m bits of mantissa has a relative error of about 2^-(m+1): 3e-4 for TF32 and float16 (m = 10), 3e-3
for bfloat16 (m = 7), 4e-8 for float32 (m = 23). Accumulation adds to these errors.
"""


def measure(spec: Spec) -> dict[str, Any]:
    """Facts about JAX's first device: kind, memory in bytes, driver, libraries, and precision of float32 products."""
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    return {
        "platform": device.platform,
        "kind": device.device_kind,
        "devices": jax.device_count(),
        "compute_capability": str(getattr(device, "compute_capability", "")),
        "memory_bytes": stats.get("bytes_limit"),
        "nvidia_smi": nvidia_smi(),
        "libraries": libraries(),
        "precision": {
            "config": spec.config.model.precision,
            "jax_default_matmul_precision": str(jax.config.values["jax_default_matmul_precision"]),
            "float32": float32_arithmetic(),
        },
    }


def nvidia_smi() -> dict[str, str]:
    """The properties in `QUERY` of the first NVIDIA GPU; empty without a GPU."""
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=SMI_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    values = [value.strip() for value in done.stdout.partition("\n")[0].split(",")]
    return dict(zip(QUERY, values, strict=True)) if done.returncode == 0 and len(values) == len(QUERY) else {}


def libraries() -> dict[str, str]:
    """Versions of the installed packages whose names match `LIBRARIES`."""
    found = {dist.metadata["Name"]: dist.version for dist in importlib.metadata.distributions() if dist.metadata}
    return {name: version for name, version in sorted(found.items()) if name and LIBRARIES.fullmatch(name.lower())}


def float32_arithmetic() -> list[dict[str, Any]]:
    """Measures the relative error of a matrix product and of a 3x3 convolution of float32 numbers.

    Returns a row for each operation and each value of JAX's argument `precision`. The field "arithmetic" of a row is
    the format in which the device computed: the result of `arithmetic`.
    """
    rng = np.random.default_rng(SEED)
    square, channels = (SIZE, SIZE), IMAGES[-1]
    shapes = (square, square, IMAGES, (3, 3, channels, channels))
    a, b, x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), axis=(1, 2))
    expected = {
        "matrix product": a.astype(np.float64) @ b.astype(np.float64),
        "convolution": np.einsum("nhwcij,ijcf->nhwf", windows, kernel.astype(np.float64)),
    }

    def product(precision: str) -> jax.Array:
        return jnp.dot(a, b, precision=precision)

    def convolution(precision: str) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            jnp.asarray(x), jnp.asarray(kernel), (1, 1), "VALID", dimension_numbers=layout, precision=precision
        )

    rows = []
    for operation, compute in (("matrix product", product), ("convolution", convolution)):
        for precision in PRECISIONS:
            out = np.asarray(jax.jit(compute, static_argnums=0)(precision), np.float64)
            error = float(np.linalg.norm(out - expected[operation]) / np.linalg.norm(expected[operation]))
            rows.append(
                {"operation": operation, "precision": precision, "error": error, "arithmetic": arithmetic(error)}
            )
    return rows


def arithmetic(error: float) -> str:
    """Finds the number format of a matrix product, such as bfloat16, from its relative error.

    Returns the first name in `ARITHMETICS` whose bound is above the error, or "wrong" if no bound is above it.
    """
    return next((name for name, limit in ARITHMETICS.items() if error < limit), "wrong")
