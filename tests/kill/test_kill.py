"""A run killed at any moment, again and again, against the same run never killed: equal to the bit.

`make kill-test` kills each of four runs 10 times, about eight minutes on two cores; apart from the other tests for that
reason. The command is the user's own, in a process of its own, on the same cores each time. The runs are one with a
step in each dispatch, one with up to seven, one with an average of its parameters, mixup and a cosine, which
`-k ingredients` chooses, and one whose images are decoded from files as they are asked for, with random crops and
colours, which `-k streamed` chooses. Four kinds of kill take turns:

- kill -9 at a random moment from the start of the command, so often before the first step;
- kill -9 at a random moment of training;
- kill -9 inside a checkpoint write: its folder is there under its unfinished name;
- SIGTERM at a random moment of training, which writes a checkpoint and ends.

A run that comes to its end in between is compared, and the next one is begun.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.studies import experiments
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.record import read_json, read_record
from resnet_jax.training.assemble import assemble
from resnet_jax.training.checkpoints import UNFINISHED, Checkpoints
from tests.data import pictures

ROOT = Path(__file__).parent.parent.parent
# Long enough for a few kills, with checkpoints so often that many kills fall near or into one.
NET = {
    "model.depth": 8,
    "model.width": 8,
    "train.iterations": 200,
    "optim.milestones": (100, 150),
    "train.gradient_norms_every": 2,
}
ONE_BY_ONE = {**NET, "train.checkpoint_steps": 3}
# Ten steps between checkpoints, twelve to an epoch: dispatches of seven steps, and single ones.
SEVEN_AT_ONCE = {**NET, "train.checkpoint_steps": 10, "train.steps_per_dispatch": 7}
# What the papers do not have, and what a checkpoint must hold more of for it.
INGREDIENTS = {
    **{name: value for name, value in ONE_BY_ONE.items() if name != "optim.milestones"},
    "optim.schedule": "cosine",
    "optim.ema": 0.95,
    "data.mixup": 0.2,
}
# Random crops and colours of JPEGs, which threads decode some batches ahead. The test writes them and gives the path.
STREAMED = {
    **ONE_BY_ONE,
    "train.batch_size": 32,
    "data.source": "folder",
    "data.stream": True,
    "data.image_size": 20,
    "data.eval_resize": 24,
    "data.crop": "scale",
    "data.scales": (24, 40),
    "data.flip": True,
    "data.normalize": "channel_mean_std",
    "data.statistics_images": 30,
    "data.color_noise": 0.1,
    "data.jitter": 0.4,
    "data.workers": 3,
}
KINDS = ("kill -9", "kill -9 in training", "kill -9 in a checkpoint write", "SIGTERM in training")
SECONDS = 120.0


Changes = Mapping[str, Any]


def options(changes: Changes) -> list[str]:
    """Changes as the user writes them."""
    words = []
    for name, value in changes.items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


def start(changes: Changes, directory: Path, runs: Path) -> subprocess.Popen[bytes]:
    # The compiled programs, for all, are kept beside `runs`.
    words = [*options(changes), f"--directory={directory}", f"--runs={runs}"]
    # Without the eight devices of the tests.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("XLA_FLAGS", None)
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.train", "digits-resnet", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
    )


def sessions(directory: Path) -> int:
    timings = directory / "timings.jsonl"
    return timings.read_text().count('"session"') if timings.exists() else 0


def wait_for_training(process: subprocess.Popen[bytes], directory: Path, before: int) -> bool:
    """Waits until the run trains; False where it ended first."""
    deadline = time.monotonic() + SECONDS
    while sessions(directory) == before:
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "the run does not begin"
        time.sleep(0.005)
    return True


def wait_for_a_write(process: subprocess.Popen[bytes], directory: Path) -> bool:
    """Waits until a checkpoint is being written; False where the run ended first."""
    while process.poll() is None:
        if any((directory / "checkpoints").glob(f"*{UNFINISHED}")):
            return True
        time.sleep(0.001)
    return False


def kill(process: subprocess.Popen[bytes], kind: str, directory: Path, before: int, draw: random.Random) -> str | None:
    """Kills the run in this way; returns what was going on, or None where it ended first."""
    if kind == "kill -9":
        time.sleep(draw.uniform(0.0, 8.0))
    elif not wait_for_training(process, directory, before):
        return None
    elif kind == "kill -9 in a checkpoint write":
        for _ in range(draw.randint(1, 5)):
            if not wait_for_a_write(process, directory):
                return None
            time.sleep(draw.uniform(0.0, 0.03))
    else:
        time.sleep(draw.uniform(0.0, 3.0))
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGTERM if kind.startswith("SIGTERM") else signal.SIGKILL)
    if process.wait(timeout=SECONDS) == 0:
        return None  # SIGTERM in its last step
    return kind if not any((directory / "checkpoints").glob(f"*{UNFINISHED}")) else f"{kind}, half a checkpoint left"


def finish(process: subprocess.Popen[bytes]) -> None:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output.decode()


def parameters(config: ExperimentConfig, directory: Path) -> list[np.ndarray]:
    assembly = assemble(config)
    restored = Checkpoints(directory / "checkpoints", keep=1).restore(assembly.blank, assembly.dataset.fingerprint)
    assert restored is not None
    assert int(restored[0].step) == config.train.iterations
    return [np.asarray(leaf) for leaf in jax.tree.leaves(restored[0])]


def assert_equal_to_the_bit(config: ExperimentConfig, directory: Path, whole: Path) -> None:
    for name in ("metrics.jsonl", "gradients.jsonl"):
        assert (directory / name).read_bytes() == (whole / name).read_bytes()
    ours, theirs = read_record(directory / "record.json"), read_record(whole / "record.json")
    assert ours.config == theirs.config == config
    assert ours.final == theirs.final
    for a, b in zip(parameters(config, directory), parameters(config, whole), strict=True):
        assert a.tobytes() == b.tobytes()
    assert not list((directory / "checkpoints").glob("*.damaged"))  # nothing half-written was taken for a checkpoint
    assert read_json(directory / "config.json") == read_json(whole / "config.json")


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [(ONE_BY_ONE, KINDS), (SEVEN_AT_ONCE, KINDS[::-1]), (INGREDIENTS, KINDS), (STREAMED, KINDS)],
    ids=["one by one", "seven at once", "ingredients", "streamed"],
)
def test_a_run_killed_at_any_moment_ends_as_one_never_killed(
    changes: Changes,
    kinds: Sequence[str],
    tmp_path: Path,
    kills: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if changes.get("data.source") == "folder":
        changes = {**changes, "data.path": str(pictures.write(tmp_path / "pictures", train=40))}
    config = override(experiments()["digits-resnet"], changes)
    draw, runs, whole = random.Random(2015), tmp_path / "runs", tmp_path / "whole"
    finish(start(changes, whole, runs))
    done: Counter[str] = Counter()
    finished, directory = 0, tmp_path / "run0"
    while sum(done.values()) < kills:
        kind = kinds[sum(done.values()) % len(kinds)]
        before = sessions(directory)
        process = start(changes, directory, runs)
        happened = kill(process, kind, directory, before, draw)
        if happened is not None:
            assert process.returncode in (-signal.SIGKILL, -signal.SIGTERM, 130), process.communicate()[0].decode()
            process.communicate()
            done[happened] += 1
            continue
        finish(process)
        assert_equal_to_the_bit(config, directory, whole)
        finished += 1
        directory = tmp_path / f"run{finished}"
    finish(start(changes, directory, runs))
    assert_equal_to_the_bit(config, directory, whole)
    with capsys.disabled():
        print(f"\n{sum(done.values())} kills, {finished + 1} runs, each equal to the bit to one never killed:")
        print("".join(f"{number:5}  {kind}\n" for kind, number in sorted(done.items())))
