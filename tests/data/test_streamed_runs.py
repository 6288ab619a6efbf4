"""Runs on streamed data: a step is given the same whatever makes and takes its images, and a run resumes to the bit."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnet_jax.config import (
    BatchNormConfig,
    ExperimentConfig,
    ModelConfig,
    OptimConfig,
    ParallelConfig,
    TrainConfig,
)
from resnet_jax.data import load
from resnet_jax.data.order import announced
from resnet_jax.record import read_record
from resnet_jax.training.feed import FromHost, feed
from resnet_jax.training.loop import Interrupted
from resnet_jax.training.mesh import devices
from resnet_jax.training.observers.base import Observer, Step
from resnet_jax.training.run import run
from tests.data.pictures import BATCH, batches, streamed, write

pytestmark = pytest.mark.usefixtures("cache_home")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "pictures")


def hashes(root: Path, first_step: int, steps: int, *, ahead: int = 2, on: int = 1, **changes: Any) -> list[str]:
    """Digest of what reaches each step within a compiled program."""
    config, where = streamed(root, **changes), devices(ParallelConfig(mode="jit", devices=on))
    dataset = load(config)
    source = feed(config, dataset, where, 0)
    assert isinstance(source, FromHost)
    todo = batches(len(dataset.train), first_step, steps)
    zero = where.replicate_state(np.float32(0))
    key = where.replicate(np.float32(0))

    def step(state: Any, at: Any, key: Any) -> Any:
        return tuple(source.train_batch(at))

    compiled, found = None, []
    for batch in announced(todo, source.begin_train, ahead):
        at = where.shard(source.train(batch))
        if compiled is None:
            compiled = where.compile(step, zero, at, key, donate_state=False)
        digest = hashlib.sha256()
        for array in where.fetch(compiled(zero, at, key)):
            digest.update(np.ascontiguousarray(array).data)
        found.append(digest.hexdigest())
    return found


def on_host(root: Path, steps: int) -> list[str]:
    """Digest of what the feed makes for each step, before it is sent to a device."""
    config = streamed(root)
    dataset = load(config)
    source = feed(config, dataset, devices(ParallelConfig()), 0)
    found = []
    for batch in batches(len(dataset.train), 0, steps):
        digest = hashlib.sha256()
        for array in source.train(batch):
            digest.update(np.ascontiguousarray(array).data)
        found.append(digest.hexdigest())
    return found


def test_steps_are_given_the_same_whatever_makes_and_takes_them(root: Path) -> None:
    expected = hashes(root, 0, 21)
    assert len(set(expected)) == 21
    assert on_host(root, 21) == expected
    for workers in (1, 2, 4):
        assert hashes(root, 0, 21, workers=workers, ahead=workers) == expected
    for count in (2, 8):
        assert hashes(root, 0, 21, on=count) == expected
    assert hashes(root, 13, 8, ahead=0) == expected[13:]


def experiment(root: Path, **changes: Any) -> ExperimentConfig:
    return ExperimentConfig(
        model=ModelConfig(family="cifar", depth=8, width=4, norm=BatchNormConfig(scope="global")),
        data=streamed(root, **{"color_noise": 0.1, "jitter": 0.4, **changes}),
        optim=OptimConfig(milestones=()),
        train=TrainConfig(iterations=9, batch_size=BATCH, eval_batch_size=4, checkpoint_steps=100),
    )


def test_an_interrupted_run_ends_with_the_bits_of_one_that_was_not(root: Path, tmp_path: Path) -> None:
    whole = run(experiment(root), tmp_path / "whole", study="s")
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        run(experiment(root), tmp_path / "cut", study="s", stop=lambda: next(asked))
    again = run(experiment(root, workers=3), tmp_path / "cut", study="s")
    assert again.final_fingerprint == whole.final_fingerprint
    assert again.final == whole.final
    assert again.data.fingerprint == whole.data.fingerprint


class Watcher(Observer):
    def __init__(self) -> None:
        self.waited: list[float | None] = []

    def step(self, step: Step) -> None:
        self.waited.append(step.waited)


def test_a_run_says_how_long_it_waited_for_its_images(root: Path, tmp_path: Path) -> None:
    watcher = Watcher()
    record = run(experiment(root), tmp_path / "streamed", study="s", observers=(watcher,))
    assert len(watcher.waited) == 9
    assert all(share is not None and 0.0 <= share <= 1.0 for share in watcher.waited)
    assert record.cost.input_s is not None
    assert 0.0 < record.cost.input_s <= record.cost.train_s
    assert read_record(tmp_path / "streamed" / "record.json") == record
