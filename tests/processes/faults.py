"""Faults done to one process of a run, and what is to come of them."""

import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from resnet_jax.record import CHECKPOINTS, RECORD_FILE, read_record
from resnet_jax.training.checkpoints import steps_in
from tests.processes.faulty import JOINED
from tests.processes.launch import EVERY, ITERATIONS, Run, train

KINDS = {"kill -9": signal.SIGKILL, "exception": signal.SIGUSR1, "SIGSTOP": signal.SIGSTOP, "SIGTERM": signal.SIGTERM}
HANG = "no work"
SIGNALS = {**KINDS, HANG: signal.SIGUSR2}
# A process that is silent for so long ends the run.
STALL = 10.0
# All processes end within this time of a fault.
END = 15.0
# What is no fault may take long on a machine that does other work.
PATIENCE = 3600.0
SENTENCES = ("error: ", "interrupted at step", "stopped; ")


@dataclass(frozen=True)
class Moment:
    """When a fault happens: a number of seconds after an event."""

    event: Literal["joined", "trains", "ends"]
    """All processes have joined, and now load the data and compile; a session has begun, or has written so many
    checkpoints; the last checkpoint is written."""
    seconds: float = 0.0
    checkpoints: int = 0
    """How many the session has written, for "trains"."""


def begun(folder: Path) -> int:
    """How many sessions of the run in a folder have begun to train."""
    file = folder / "run" / "timings.jsonl"
    return file.read_text().count('"session"') if file.exists() else 0


def newest(folder: Path) -> int:
    """The step of the newest checkpoint of the run in a folder; 0 without one."""
    return max(steps_in(folder / "run" / CHECKPOINTS), default=0)


def wait_for(run: Run, folder: Path, moment: Moment, sessions: int, step: int, seconds: float = PATIENCE) -> bool:
    """Waits for a moment; False where a process ended before.

    Args:
      run: the processes.
      folder: where they run.
      moment: what to wait for.
      sessions: of the run, before this one.
      step: of the newest checkpoint, before this session.
      seconds: after which the test fails.
    """

    def has_come() -> bool:
        if moment.event == "joined":
            return all((folder / f"{JOINED}{i}").exists() for i in range(len(run.processes)))
        if moment.event == "ends":
            return newest(folder) == ITERATIONS
        return begun(folder) > sessions and newest(folder) >= min(step + moment.checkpoints * EVERY, ITERATIONS)

    deadline = time.monotonic() + seconds
    while not has_come():
        assert time.monotonic() < deadline, run.text()
        if any(process.poll() is not None for process in run.processes):
            return False
        time.sleep(0.01)
    time.sleep(moment.seconds)
    return all(process.poll() is None for process in run.processes)


def harm(folder: Path, processes: int, kind: str, victim: int, moment: Moment = Moment("trains")) -> str:
    """Starts the run in a folder over processes, or goes on with it, and does one fault to one of them.

    Args:
      folder: of the run and of what its processes print.
      processes: how many.
      kind: the fault.
      victim: the number of the process.
      moment: when.

    Returns:
      The sentence that ended the others; empty where the run ended before the fault.
    """
    sessions, step = begun(folder), newest(folder)
    for file in folder.glob(f"{JOINED}*"):
        file.unlink()
    run = train(folder, processes, f"--parallel.stall-seconds={STALL}", module="tests.processes.faulty", fresh=True)
    others = [i for i in range(processes) if i != victim]
    try:
        if not wait_for(run, folder, moment, sessions, step):
            assert run.wait(60.0) == [0] * processes, run.text()
            return ""
        run.processes[victim].send_signal(SIGNALS[kind])
        done = time.monotonic()
        for i in others if kind == "SIGSTOP" else range(processes):
            try:
                run.processes[i].wait(max(0.01, done + END - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{kind} to {victim}: process {i} runs after {END} s:\n{run.text()}") from None
        if kind == "SIGSTOP":
            run.processes[victim].send_signal(signal.SIGCONT)
            run.processes[victim].wait(END)
    finally:
        run.kill()
    if all(run.processes[i].returncode == 0 for i in others):
        assert (folder / "run" / RECORD_FILE).exists(), run.text()
        return ""
    sentences = set()
    for i in range(processes):
        said = [line for line in run.text(i).splitlines() if line.startswith(SENTENCES)]
        if i != victim or kind in ("exception", "SIGTERM", HANG):
            assert len(said) == 1, f"{kind} to {victim}: process {i} said {said}:\n{run.text(i)}"
            # Each process measures silence itself.
            sentences.add(re.sub(r"for \d+ s", "for some time", said[0]))
    assert len(sentences) == 1, f"{kind} to {victim}: {sentences}"
    (sentence,) = sentences
    expected: dict[str, str | tuple[str, ...]] = {
        "kill -9": f"error: process {victim} ended without a message",
        "exception": f"error: process {victim}: RuntimeError: an injected defect",
        "SIGSTOP": f"error: process {victim} has not",
        HANG: f"error: process {victim} has not moved on",
        # Before the first step there is nothing to keep.
        "SIGTERM": ("interrupted at step", "stopped; this run", f"error: process {victim}: interrupted"),
    }
    assert sentence.startswith(expected[kind]), sentence
    return sentence


def finish(folder: Path, processes: int, devices: int | None = None) -> None:
    """Lets the run in a folder come to its end."""
    run = train(folder, processes, devices=devices)
    assert run.wait(PATIENCE) == [0] * processes, run.text()


def weights(folder: Path) -> dict[str, np.ndarray]:
    """The net of a finished run, by name."""
    from safetensors.numpy import load_file

    (file,) = (folder / "run" / "weights").glob("*.safetensors")
    found: dict[str, np.ndarray] = load_file(file)
    return found


def drift(one: Path, other: Path) -> float:
    """The largest difference between the nets of two finished runs."""
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    return max(float(np.abs(ours[name].astype(np.float64) - theirs[name]).max()) for name in ours)


def assert_same_to_the_bit(folder: Path, whole: Path) -> None:
    """Makes sure that two finished runs on one layout have the same lines, results and parameters."""
    assert (folder / "run" / "metrics.jsonl").read_bytes() == (whole / "run" / "metrics.jsonl").read_bytes()
    ours, theirs = (read_record(place / "run" / "record.json") for place in (folder, whole))
    assert ours.final == theirs.final
    assert ours.final_fingerprint == theirs.final_fingerprint is not None
