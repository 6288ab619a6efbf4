"""TensorBoard's own reader finds a run's numbers, each step once, whatever interrupted the run."""

import shutil
from pathlib import Path

import pytest

from resnet_jax.config import override
from resnet_jax.record import read_gradients, read_metrics, read_record
from resnet_jax.training.loop import Interrupted
from resnet_jax.training.observers import open_sinks
from resnet_jax.training.run import run
from tests.training.test_loop import SMALL, stop_after

pytest.importorskip("tensorboardX")
event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

LOGGED = override(SMALL, {"train.gradient_norms_every": 4, "train.checkpoint_steps": 0})


def train(directory: Path, stop: int = 1000) -> None:
    sinks = open_sinks(["tensorboard"], directory, "test", LOGGED, pytest.fail)
    run(LOGGED, directory, study="test", observers=sinks, stop=stop_after(stop))


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    found = event_accumulator.EventAccumulator(str(directory / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("runs") / "whole"
    train(directory)
    return directory


def test_tensorboard_reads_what_the_run_directory_holds(whole: Path) -> None:
    found, record = scalars(whole), read_record(whole / "record.json")
    assert [step for step, _ in found["train/loss"]] == [10, 20, 30]
    assert [rate for _, rate in found["train/learning_rate"]] == pytest.approx([0.1, 0.1, 0.001])
    assert all(rate > 0 for _, rate in found["train/images_per_second"])
    lines = read_metrics(whole / "metrics.jsonl")
    assert found["running/loss"] == [(line.step, pytest.approx(line.running_loss)) for line in lines]
    assert found["test/error"] == [(line.step, pytest.approx(line.test_error)) for line in lines]
    assert record.final is not None
    assert found["final/error"] == [(30, pytest.approx(record.final.train_error))]
    gradients = read_gradients(whole / "gradients.jsonl")
    layer = next(iter(gradients[0].norms))
    # gradients.jsonl counts the steps before the gradient was taken, TensorBoard those after.
    assert found[f"gradient_norm/{layer}"] == [(g.step + 1, pytest.approx(g.norms[layer])) for g in gradients]


def test_after_interruptions_every_step_is_there_once(whole: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(place, stop=15)
    # As after kill -9 before the first checkpoint: the session is lost but for what it logged.
    shutil.rmtree(place / "checkpoints")
    with pytest.raises(Interrupted):
        train(place, stop=13)
    train(place)
    ours, theirs = scalars(place), scalars(whole)
    for tag in theirs:
        if tag != "train/images_per_second":
            assert ours[tag] == theirs[tag], tag


def test_a_folder_that_refuses_costs_the_log_and_not_the_run(tmp_path: Path) -> None:
    place, notes, config = tmp_path / "run", [], override(SMALL, {"train.iterations": 2})
    with pytest.raises(Interrupted):
        run(config, place, study="test", stop=stop_after(1))
    (place / "tensorboard").touch()  # a file where the folder should be
    sinks = open_sinks(["tensorboard"], place, "test", config, notes.append)
    record = run(config, place, study="test", observers=sinks)
    assert record.status == "finished"
    assert len(notes) == 1
    assert "--log tensorboard failed" in notes[0]
