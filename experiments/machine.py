"""What a command sets up before JAX starts: memory, devices, the other processes of its run, compiled programs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from experiments import jobs
from resnet_jax.config import ExperimentConfig, ParallelConfig
from resnet_jax.training.launchers import launch

VIRTUAL = "--xla_force_host_platform_device_count"
# Its settings of glibc, such as those of malloc; a user's own stand.
MALLOC = "GLIBC_TUNABLES"
# Large blocks come from the heap too, whose end is never given back. Heaps that threads have of their own are too small
# for large blocks and would map them, so that all share one.
KEEPS_MEMORY = {"hugetlb": 1, "arena_max": 1, "mmap_threshold": 1 << 32, "trim_threshold": 1 << 40}


def tune_malloc() -> None:
    """Starts this process anew with a malloc that keeps memory, in pages of 2 MiB; on Linux with glibc, and once.

    On a CPU, XLA takes the scratch of a step from malloc at every step and gives it back. By default malloc gives it
    back to the system, and each page costs a fault when it is touched anew: 81,000 of 4 KiB in a step of ResNet-20, a
    fifth of its time, and more on a virtual machine whose host takes idle pages back. With these settings there are
    none. glibc reads the variable when a process starts. Results do not change.
    """
    if sys.platform == "linux" and MALLOC not in os.environ:
        os.environ[MALLOC] = ":".join(f"glibc.malloc.{name}={value}" for name, value in KEEPS_MEMORY.items())
        sys.stdout.flush()
        # Until the new process has its handlers, see experiments/__init__.py, a signal waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def share_of_devices(parallel: ParallelConfig) -> int:
    """The devices of this process, of those of a run.

    Raises:
      UserError: a run's processes are not told how many they are, or do not share the devices equally.
    """
    place = launch(parallel, os.environ)
    return parallel.devices // (place.processes if place else 1)


def virtual_devices(count: int) -> None:
    """Lets JAX see `count` devices in this machine's CPU, unless XLA_FLAGS says how many; accelerators stay.

    It has to come before JAX's first use, when XLA reads the flag.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if count > 1 and VIRTUAL not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {VIRTUAL}={count}".strip()


def join(config: ExperimentConfig) -> None:
    """Makes this process one of those of a run, where it has several. Processes other than the first print nothing.

    Raises:
      UserError: the processes cannot find each other, or differ.
    """
    if launch(config.parallel, os.environ) is None:
        return
    from resnet_jax.training import processes
    from resnet_jax.training.environment import code_version

    visible = jobs.gpus()
    processes.join(config, visible=len(visible) or None, also_alike={"the code's version": code_version()})
    if not processes.primary():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for as long as the process lives


def use_compilation_cache(runs: Path) -> None:
    """Lets JAX keep compiled programs under `runs`, so that a net is compiled once for all its seeds and restarts.

    Not with several processes: those that find a program there would not wait for those that do not.
    """
    import jax

    from resnet_jax.training import processes

    if processes.count() > 1:
        return

    jax.config.update("jax_compilation_cache_dir", str(runs.absolute() / ".compiled"))
    # Many small programs draw the initial values; each is worth keeping.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
