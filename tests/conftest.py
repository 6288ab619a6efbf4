"""Every test runs on eight virtual CPU devices, with JAX strict about dtypes and ranks.

Those of tests/gpu run where JAX_PLATFORMS says: `python -m experiments.gpu_check` sets it to the empty string, with
which JAX chooses.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

# Before JAX is imported: it reads the flags once. Compiling takes most of the tests' time, and most of that is
# optimisation, which small nets do not need. Studies and the kill test, in processes of their own, have it.
_FLAGS = ["--xla_force_host_platform_device_count=8", "--xla_backend_optimization_level=0"]
if version("jaxlib").startswith("0.10."):  # XLA ends the process at a flag that it does not know
    _FLAGS += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
    _FLAGS += ["--xla_llvm_disable_expensive_passes=true"]
if os.environ.setdefault("JAX_PLATFORMS", "cpu") == "cpu":
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_FLAGS])

# The experiments are not installed: processes that tests start in other folders find them in the checkout.
_ROOT = str(Path(__file__).parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join([_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])

import tempfile  # noqa: E402

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Two costs that tests don't need, a seventh of their time: a program's lines of source for each operation, and looking
# for garbage every 700 objects, where tracing makes millions. `_nothing_kept` collects it after each file.
jax.config.update("jax_traceback_in_locations_limit", 0)
gc.set_threshold(50_000)


# Many tests prepare the same small net: it is compiled once for all of them, in whichever process they run. The first,
# which starts the others, makes the folder and removes it.
_COMPILED = "RESNET_JAX_TESTS_COMPILED"
if _COMPILED not in os.environ:
    _FOLDER = tempfile.TemporaryDirectory(prefix="resnet_jax_tests_", ignore_cleanup_errors=True)
    os.environ[_COMPILED] = _FOLDER.name
jax.config.update("jax_compilation_cache_dir", os.environ[_COMPILED])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


@pytest.fixture(autouse=True)
def _one_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that are called in this process leave the folder of compiled programs as it is."""
    monkeypatch.setattr("experiments.machine.use_compilation_cache", lambda runs: None)


@pytest.fixture(scope="module", autouse=True)
def _nothing_kept() -> Iterator[None]:
    """After each file, JAX forgets the programs that it holds in memory: those of all files are some gigabytes."""
    yield
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":  # the C library keeps freed memory unless it is told not to
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def x64() -> Iterator[None]:
    """JAX's x64 mode, for tests that compare in float64."""
    with jax.enable_x64(True):
        yield
