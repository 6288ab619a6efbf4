"""Runs a sweep in several processes of one machine, each with a share of its CPU cores and, if it has GPUs, one GPU.

A small net uses several cores badly: two runs side by side, on one core each, end sooner than two runs one after the
other on two cores. Each process takes the next run that no other process has started.

This module does not import JAX, because the process that starts the others must not occupy a GPU.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from experiments.cli import handling
from resnet_jax.text import plural

CORES = "RESNET_JAX_CORES"
VISIBLE = "CUDA_VISIBLE_DEVICES"
MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION"
# Share of a GPU's memory that its processes may reserve together; JAX's default for one process is 0.75.
RESERVED = 0.9


@dataclass(frozen=True)
class Share:
    """The cores and the GPU of one process of a sweep."""

    cores: tuple[int, ...]
    """Numbers of the CPU cores; empty if unknown."""
    gpu: str | None = None
    """CUDA's name of the GPU: a number or a UUID; None: no GPU."""
    sharers: int = 1
    """Number of processes that use this GPU, including this one."""

    def environment(self, before: Mapping[str, str]) -> dict[str, str]:
        """Environment variables of the process: `before`, and the variables that give it this share."""
        told = {CORES: ",".join(map(str, self.cores))}
        if self.gpu is not None:
            told[VISIBLE] = self.gpu
            if self.sharers > 1 and MEMORY not in before:
                told[MEMORY] = f"{RESERVED / self.sharers:.3f}"
        return {**before, **told}


def deal(jobs: int, cores: Sequence[int], gpus: Sequence[str] = ()) -> list[Share]:
    """Divides the CPU cores and GPUs of a machine among `jobs` processes, one share for each.

    If there are fewer GPUs than processes, processes share GPUs.
    """
    seats = [gpus[i % len(gpus)] if gpus else None for i in range(jobs)]
    return [
        Share(tuple(cores[i::jobs]) or tuple(cores), gpu, seats.count(gpu) if gpu else 1) for i, gpu in enumerate(seats)
    ]


def describe(shares: Sequence[Share]) -> str:
    """A sentence for the user on the cores and GPUs of the processes."""
    used = {share.gpu for share in shares} - {None}
    if not used:
        return f"{len(shares)} processes, each on its share of the CPU cores."
    most = max(share.sharers for share in shares)
    how = f"up to {most} share one and its memory" if most > 1 else "one each"
    return f"{len(shares)} processes on {plural(len(used), 'GPU')}, {how}."


def cores() -> list[int]:
    """The CPU cores that this process may use; empty if unknown."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def gpus(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> list[str]:
    """The NVIDIA GPUs that JAX may use in this environment, as CUDA_VISIBLE_DEVICES names them.

    This function does not import JAX, so it cannot find out whether the installed JAX supports GPUs. On a machine with
    GPUs whose JAX supports only CPUs, set JAX_PLATFORMS=cpu: then the result is empty.

    Args:
      environment: environment variables, of which JAX_PLATFORMS and CUDA_VISIBLE_DEVICES are used. As in CUDA, entries
        after a -1 are ignored.
      devices: the folder of device files, with nvidia0, nvidia1, ... for the GPUs.
    """
    platforms = environment.get("JAX_PLATFORMS", "").split(",")
    if platforms != [""] and not {"cuda", "gpu"} & set(platforms):
        return []
    if VISIBLE not in environment:
        return [str(number) for number, _ in enumerate(devices.glob("nvidia[0-9]*"))]
    listed = [name.strip() for name in environment[VISIBLE].split(",")]
    return listed[: next((i for i, name in enumerate(listed) if name in ("", "-1")), len(listed))]


def run(words: Sequence[str], shares: Sequence[Share], told: Mapping[str, str] | None = None) -> list[int]:
    """Runs `python -m words` once for each share, all at the same time; returns the exit statuses.

    Each line that a process prints is printed with the number of the process, from 1. Ctrl-C and SIGTERM are passed on
    as SIGTERM. Then each process writes a checkpoint and ends.

    Args:
      words: the module and its arguments.
      shares: the cores and the GPU of each process.
      told: further environment variables for all processes.

    Raises:
      KeyboardInterrupt: this process got a signal; all processes have ended.
    """
    processes: list[subprocess.Popen[str]] = []
    readers: list[threading.Thread] = []
    interrupted = False

    def pass_on(number: int, frame: Any) -> None:
        nonlocal interrupted
        interrupted = True
        for process in processes:
            process.send_signal(signal.SIGTERM)

    with handling(pass_on):
        for number, share in enumerate(shares, start=1):
            if interrupted:
                break
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=share.environment({**os.environ, **(told or {})}),
            )
            assert process.stdout is not None
            reader = threading.Thread(target=_repeat, args=(process.stdout, number))
            reader.start()
            processes.append(process)
            readers.append(reader)
            if interrupted:  # the signal came while the process was being started
                process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()
        for reader in readers:
            reader.join()
    if interrupted:
        raise KeyboardInterrupt("interrupted; the same command runs what is missing.")
    return [process.returncode for process in processes]


def claim_cores() -> bool:
    """Restricts this process to the CPU cores of its share, if `run` started it; returns whether `run` started it."""
    given = os.environ.get(CORES)
    if given and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in given.split(",")})
    return given is not None


def _repeat(lines: IO[str], number: int) -> None:
    with lines:
        for line in lines:
            if line.strip():
                print(f"[{number}] {line}", end="", flush=True)
