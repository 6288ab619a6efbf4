"""Faults done to one process of a run, and what is to come of them."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np

from resnet_jax.config import override
from resnet_jax.record import read_config, read_metrics, read_record
from tests.processes.launch import Run, train

KINDS = {"kill -9": signal.SIGKILL, "exception": signal.SIGUSR1, "SIGSTOP": signal.SIGSTOP, "SIGTERM": signal.SIGTERM}
# A process that is silent for so long ends the run.
STALL = 10.0
# All processes end within this time of a fault.
END = 15.0


def begun(folder: Path) -> int:
    """How many sessions of the run in a folder have begun to train."""
    file = folder / "run" / "timings.jsonl"
    return file.read_text().count('"session"') if file.exists() else 0


def wait_until_it_trains(run: Run, folder: Path, before: int, seconds: float = 300.0) -> None:
    """Returns once a session more than before has begun."""
    deadline = time.monotonic() + seconds
    while begun(folder) == before:
        assert all(process.poll() is None for process in run.processes), run.text()
        assert time.monotonic() < deadline, run.text()
        time.sleep(0.01)


def harm(folder: Path, processes: int, kind: str, victim: int, delay: float, draw: random.Random) -> str:
    """Starts the run in a folder over processes, or goes on with it, and does one fault to one of them.

    Returns:
      The sentence that ended the others; empty where the run ended before the fault.
    """
    before = begun(folder)
    run = train(folder, processes, f"--parallel.stall-seconds={STALL}", module="tests.processes.faulty")
    starts = [len(run.text(i)) for i in range(processes)]
    try:
        wait_until_it_trains(run, folder, before)
        time.sleep(delay)
        if any(process.poll() is not None for process in run.processes):
            run.wait(60.0)
            return ""
        run.processes[victim].send_signal(KINDS[kind])
        done = time.monotonic()
        others = [process for i, process in enumerate(run.processes) if i != victim or kind != "SIGSTOP"]
        for process in others:
            process.wait(max(0.01, done + END - time.monotonic()))
        if kind == "SIGSTOP":
            run.processes[victim].send_signal(signal.SIGCONT)
            run.processes[victim].wait(END)
    finally:
        run.kill()
    if all(process.returncode == 0 for process in run.processes):
        return ""
    sentences = set()
    for i in range(processes):
        text = run.text(i)[starts[i] :]
        said = [line for line in text.splitlines() if line.startswith(("error: ", "interrupted at step"))]
        if i != victim or kind in ("exception", "SIGTERM"):
            assert len(said) == 1, f"process {i} said {said}:\n{text}"
            sentences.add(said[0])
    (sentence,) = sentences
    expected: dict[str, str | tuple[str, ...]] = {
        "kill -9": f"error: process {victim} ended without a word",
        "exception": f"error: process {victim}: RuntimeError: an injected defect",
        "SIGSTOP": f"error: process {victim} has not",
        # Before the first step there is nothing to keep.
        "SIGTERM": ("interrupted at step", f"error: process {victim}: interrupted"),
    }
    assert sentence.startswith(expected[kind]), sentence
    return sentence


def finish(folder: Path, processes: int, devices: int | None = None) -> None:
    """Lets the run in a folder come to its end."""
    run = train(folder, processes, devices=devices)
    assert run.wait(600.0) == [0] * processes, run.text()


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
    """Of two finished runs on one layout."""
    assert (folder / "run" / "metrics.jsonl").read_bytes() == (whole / "run" / "metrics.jsonl").read_bytes()
    ours, theirs = (read_record(place / "run" / "record.json") for place in (folder, whole))
    assert ours.final == theirs.final
    assert ours.final_fingerprint == theirs.final_fingerprint is not None


def copy(folder: Path, to: Path) -> Path:
    """A copy of an unfinished run, for another layout to go on with."""
    shutil.copytree(folder / "run", to / "run")
    config = read_config(to / "run" / "config.json")
    assert override(config, {}) == config
    return to


def steps(folder: Path) -> list[int]:
    """The steps of a run's lines."""
    return [line.step for line in read_metrics(folder / "run" / "metrics.jsonl")]
