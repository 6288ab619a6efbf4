"""A sweep in several processes of this machine, each on its own share of the CPU cores and, where there are any, a GPU.

Small nets leave most of a core idle when one process has them all: two runs side by side on one core each finish sooner
than one after the other on both. The processes need no plan: each takes the next run that nobody has claimed.

Nothing here imports JAX: the process that deals out would take a GPU of its own.
"""

from __future__ import annotations

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

CORES = "RESNET_JAX_CORES"
VISIBLE = "CUDA_VISIBLE_DEVICES"
MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION"
# The share of a GPU's memory that its processes may reserve together; JAX's own choice for one process is 0.75.
RESERVED = 0.9


@dataclass(frozen=True)
class Share:
    """What one process of a sweep has."""

    cores: tuple[int, ...]
    """Numbers of the CPU cores; empty where the system does not say."""
    gpu: str | None = None
    """As CUDA names it: a number or a UUID."""
    sharers: int = 1
    """Processes on that GPU, this one included."""

    def environment(self, before: Mapping[str, str]) -> dict[str, str]:
        """The environment of the process: `before`, which says what else JAX is to know, with this share in it."""
        told = {CORES: ",".join(map(str, self.cores))}
        if self.gpu is not None:
            told[VISIBLE] = self.gpu
            if self.sharers > 1 and MEMORY not in before:
                told[MEMORY] = f"{RESERVED / self.sharers:.3f}"
        return {**before, **told}


def deal(jobs: int, cores: Sequence[int], gpus: Sequence[str] = ()) -> list[Share]:
    """The cores and GPUs of a machine dealt out to `jobs` processes, in turn.

    Where there are fewer cores than processes, each gets all of them; where there are fewer GPUs, processes share.
    """
    seats = [gpus[i % len(gpus)] if gpus else None for i in range(jobs)]
    return [
        Share(tuple(cores[i::jobs]) or tuple(cores), gpu, seats.count(gpu) if gpu else 1) for i, gpu in enumerate(seats)
    ]


def describe(shares: Sequence[Share]) -> str:
    """What each process has, in a sentence."""
    used = {share.gpu for share in shares} - {None}
    if not used:
        return f"{len(shares)} processes, each on its share of the CPU cores."
    most = max(share.sharers for share in shares)
    how = f"up to {most} share one and its memory" if most > 1 else "one each"
    return f"{len(shares)} processes on {len(used)} GPU{'s' * (len(used) > 1)}, {how}."


def cores() -> list[int]:
    """The CPU cores that this process may use; none where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def gpus(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> list[str]:
    """The NVIDIA GPUs that JAX may use in this environment, as CUDA_VISIBLE_DEVICES names them.

    A JAX installed for CPUs alone leaves them idle: JAX_PLATFORMS=cpu says so here too.

    Args:
      environment: its JAX_PLATFORMS and CUDA_VISIBLE_DEVICES count, in which CUDA ignores what follows a -1.
      devices: where the system keeps its device files, of which each GPU has one, nvidia0, nvidia1, ...
    """
    platforms = environment.get("JAX_PLATFORMS", "").split(",")
    if platforms != [""] and not {"cuda", "gpu"} & set(platforms):
        return []
    if VISIBLE not in environment:
        return [str(number) for number, _ in enumerate(devices.glob("nvidia[0-9]*"))]
    listed = [name.strip() for name in environment[VISIBLE].split(",")]
    return listed[: next((i for i, name in enumerate(listed) if name in ("", "-1")), len(listed))]


def run(words: Sequence[str], shares: Sequence[Share], told: Mapping[str, str] | None = None) -> list[int]:
    """Runs `python -m words` in a process for each share, prints their lines with their numbers; their statuses.

    The environment of each is this process's, with its share and with what `told` adds.

    Ctrl-C and SIGTERM, which may come to this process alone, are passed on as SIGTERM. A process that was already asked
    to stop ignores it; each keeps its checkpoint and ends, and then this one does. After a signal no further process is
    started, and one that was being started gets it too.

    Raises:
      KeyboardInterrupt: one of the two came; all processes have ended.
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
            if interrupted:  # while it was being started, and was not on the list
                process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()
        for reader in readers:
            reader.join()
    if interrupted:
        raise KeyboardInterrupt("interrupted; the same command goes on with what is missing.")
    return [process.returncode for process in processes]


def claim_cores() -> bool:
    """In a process that `run` started: keeps to its cores. Tells whether this is one."""
    given = os.environ.get(CORES)
    if given and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in given.split(",")})
    return given is not None


def _repeat(lines: IO[str], number: int) -> None:
    with lines:
        for line in lines:
            if line.strip():
                print(f"[{number}] {line}", end="", flush=True)
