"""Every test runs on eight virtual CPU devices, with JAX strict about dtypes and ranks.

Those of tests/gpu run where JAX_PLATFORMS says: `python -m experiments.gpu_check` sets it to the empty string, with
which JAX chooses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

# Before JAX is imported: it reads the flags once. Compiling takes most of the tests' time, and nearly half of that is
# optimisation, which small nets do not need. `make parity`, `make kill-test` and the studies have it.
if os.environ.setdefault("JAX_PLATFORMS", "cpu") == "cpu":
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    )

import tempfile

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


# Many tests prepare the same small net: it is compiled once for all of them, in whichever process they run. The first,
# which starts the others, makes the folder and removes it.
_COMPILED = "RESNET_JAX_TESTS_COMPILED"
if _COMPILED not in os.environ:
    _FOLDER = tempfile.TemporaryDirectory(prefix="resnet_jax_tests_", ignore_cleanup_errors=True)
    os.environ[_COMPILED] = _FOLDER.name
jax.config.update("jax_compilation_cache_dir", os.environ[_COMPILED])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


@pytest.fixture
def x64() -> Iterator[None]:
    """JAX's x64 mode, for tests that compare in float64."""
    with jax.enable_x64(True):
        yield
