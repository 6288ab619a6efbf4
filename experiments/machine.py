"""The setup of a command before JAX starts: malloc, devices, other processes, the cache of compiled programs."""

from __future__ import annotations

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
    """Restarts this process once with a malloc that keeps its memory, in pages of 2 MiB; only on Linux with glibc.

    On a CPU, XLA allocates temporary memory in every step and frees it. By default malloc returns it to the system, and
    each page then costs a page fault: 81,000 faults in a step of ResNet-20, a fifth of its time. With these settings
    there are none. The restart is needed because glibc reads the variable when a process starts. Results do not change.
    """
    if sys.platform == "linux" and MALLOC not in os.environ:
        os.environ[MALLOC] = ":".join(f"glibc.malloc.{name}={value}" for name, value in KEEPS_MEMORY.items())
        sys.stdout.flush()
        # Until the new process has its handlers, see experiments/__init__.py, a signal waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def share_of_devices(parallel: ParallelConfig) -> int:
    """The number of devices of this process.

    Raises:
      UserError: the number of processes is unknown, or does not divide the number of devices.
    """
    place = launch(parallel, os.environ)
    return parallel.devices // (place.processes if place else 1)


def virtual_devices(count: int) -> None:
    """Gives JAX `count` virtual CPU devices, unless XLA_FLAGS sets a number; other devices are not changed.

    This must be called before the first use of JAX, when XLA reads the flag.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if count > 1 and VIRTUAL not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {VIRTUAL}={count}".strip()


def join(config: ExperimentConfig) -> None:
    """Joins the processes of a run, if it has several. Processes other than the first print nothing.

    Raises:
      UserError: the processes cannot find each other, or differ.
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
    """Keeps compiled programs in a cache under `runs`, so that a net is compiled once for all seeds and restarts.

    With several processes there is no cache, because those that find a program would not wait for the others.
    """
    import jax

    from resnet_jax.training import processes

    if processes.count() > 1:
        return

    jax.config.update("jax_compilation_cache_dir", str(runs.absolute() / ".compiled"))
    # Also small programs, because many of them draw the initial values.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
