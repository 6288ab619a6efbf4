"""A run killed on the device and resumed, against one never killed: equal to the bit, with which settings of XLA?

XLA chooses some algorithms by the clock, and some kernels add up in the order in which threads arrive. A second process
may therefore compute other bits, unless it finds the first one's compiled programs (as the commands of this project do)
or XLA is told to be deterministic. If a case fails on a GPU, its name says which settings do not suffice there.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from resnet_jax.record import read_record
from tests.gpu import reference
from tests.gpu.training import CHECKPOINT_STEPS

pytestmark = pytest.mark.gpu

CASES = {
    "compiled_once": ("", True),
    "compiled_anew": ("", False),
    "compiled_anew_deterministic": ("--xla_gpu_deterministic_ops=true", False),
}
# Dispatches: four of five steps, then single ones to the end of the first epoch.
KILL_AT, KILLED_AFTER_STEP = 5, 21


def start(directory: Path, flags: str, *options: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tests.gpu.training", str(directory), *options]
    environment = {**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()}
    return subprocess.Popen(
        words, cwd=reference.ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def end(process: subprocess.Popen[str], status: int = 0) -> None:
    output, _ = process.communicate()
    assert process.returncode == status, output


@pytest.mark.parametrize("case", CASES)
def test_resume_is_equal_to_the_bit(tmp_path: Path, case: str) -> None:
    flags, cached = CASES[case]
    if not cached and jax.default_backend() == "cpu":
        pytest.skip("a CPU's compiler chooses nothing by the clock")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = ("--cache", str(tmp_path / "cache")) if cached else ()
    first = start(whole, flags, *options)
    if cached:
        end(first)  # its compiled programs are the others' too
    second = start(killed, flags, "--kill-at", str(KILL_AT), *options)
    if not cached:
        end(first)
    end(second, -signal.SIGKILL)
    assert not (killed / "record.json").exists()
    end(start(killed, flags, *options))
    ours, theirs = read_record(killed / "record.json"), read_record(whole / "record.json")
    first_step, resumed_step = (session.step for session in ours.sessions)
    # The last checkpoint is written beside the training, so the kill may have come before it was whole.
    assert first_step == 0
    assert resumed_step in range(CHECKPOINT_STEPS, KILLED_AFTER_STEP, CHECKPOINT_STEPS)
    assert theirs.final_fingerprint is not None
    assert ours.final_fingerprint == theirs.final_fingerprint
    assert ours.final == theirs.final
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
