"""Sets up a command before JAX starts: malloc, virtual devices, several processes, the cache of compiled programs."""

import os
import signal
import sys
from pathlib import Path

from experiments import jobs
from resnet_jax.config import ExperimentConfig, ParallelConfig
from resnet_jax.training.launchers import launch

VIRTUAL = "--xla_force_host_platform_device_count"
# The variable with settings of glibc; the user's own settings are kept.
MALLOC = "GLIBC_TUNABLES"
# Large blocks come from the heap, which never shrinks. Threads share one heap, because the heaps of threads are too
# small for large blocks.
KEEPS_MEMORY = {"hugetlb": 1, "arena_max": 1, "mmap_threshold": 1 << 32, "trim_threshold": 1 << 40}


def tune_malloc() -> None:
    """Restarts this process once, with settings of malloc that keep freed memory and use pages of 2 MiB.

    Has no effect on systems other than Linux.

    On a CPU, XLA allocates temporary memory in every step and frees it. By default, malloc returns freed memory to the
    system, and its next use costs a page fault for each page. The settings avoid these page faults. Results do not
    change. The restart is needed because glibc reads its settings when a process starts.
    """
    if sys.platform == "linux" and MALLOC not in os.environ:
        os.environ[MALLOC] = ":".join(f"glibc.malloc.{name}={value}" for name, value in KEEPS_MEMORY.items())
        sys.stdout.flush()
        # Signals wait until the new process has its handlers (experiments/__init__.py).
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def share_of_devices(parallel: ParallelConfig) -> int:
    """The number of devices that this process uses.

    Raises:
      UserError: the number of processes is unknown, or does not divide the number of devices.
    """
    place = launch(parallel, os.environ)
    return parallel.devices // (place.processes if place else 1)


def virtual_devices(count: int) -> None:
    """Gives JAX `count` virtual CPU devices, unless XLA_FLAGS already sets their number. GPUs are not affected.

    Call this before the first use of JAX, because XLA reads the flag only then.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if count > 1 and VIRTUAL not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {VIRTUAL}={count}".strip()


def join(config: ExperimentConfig) -> None:
    """Connects the processes of a run. Afterwards only process 0 prints. Does nothing if the run has one process.

    Raises:
      UserError: the processes cannot find each other, or their configurations or code differ.
    """
    if launch(config.parallel, os.environ) is None:
        return
    from absl import logging

    from resnet_jax.training import processes
    from resnet_jax.training.environment import code_version

    logging.set_verbosity(logging.ERROR)  # Orbax warns that process 0 alone wrote a checkpoint, which is intended
    visible = jobs.gpus()
    processes.join(config, visible=len(visible) or None, also_alike={"the code's version": code_version()})
    if not processes.primary():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for as long as the process lives


def use_compilation_cache(runs: Path) -> None:
    """Keeps compiled programs in the folder `runs`, so that a net is compiled once for all seeds and restarts.

    With several processes no cache is used. All processes must compile together, and a process that finds its program
    in the cache would not wait for the others.
    """
    import jax

    from resnet_jax.training import processes

    if processes.count() > 1:
        return

    jax.config.update("jax_compilation_cache_dir", str(runs.absolute() / ".compiled"))
    # Small programs are cached too, because many of them draw the initial values.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
