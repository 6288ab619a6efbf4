"""A sweep in several processes of this machine, each on its own share of the CPU cores.

Small nets leave most of a core idle when one process has them all: two runs side by side on one core each finish sooner
than one after the other on both. The processes need no plan: each takes the next run that nobody has claimed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

CORES = "RESNET_JAX_CORES"


def shares(cores: Sequence[int], jobs: int) -> list[list[int]]:
    """`cores` dealt out to `jobs` processes; where there are fewer cores than processes, each gets all."""
    return [list(cores[i::jobs]) or list(cores) for i in range(jobs)]


def run(words: Sequence[str], jobs: int) -> list[int]:
    """Runs `python -m words` as `jobs` processes, prints their lines with their numbers, and returns their statuses.

    Ctrl-C reaches them as well as this process: each keeps its checkpoint and ends, and then this one does.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    processes, readers = [], []
    for number, share in enumerate(shares(cores, jobs), start=1):
        environment = {**os.environ, CORES: ",".join(map(str, share))}
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        reader = threading.Thread(target=_repeat, args=(process.stdout, number))
        reader.start()
        processes.append(process)
        readers.append(reader)
    interrupted = False
    for process in processes:
        while process.poll() is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                interrupted = True
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
    for line in lines:
        if line.strip():
            print(f"[{number}] {line}", end="", flush=True)
