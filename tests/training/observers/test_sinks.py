"""What all sinks have in common: their names, what they receive, and that their failures end no run."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from resnet_jax.config import ExperimentConfig
from resnet_jax.errors import UserError
from resnet_jax.record import MetricsLine
from resnet_jax.training.metrics import Totals
from resnet_jax.training.observers import open_sinks, sink_classes, sink_names
from resnet_jax.training.observers.base import Guarded, Sink, Step


class Kept(Sink):
    """Keeps what it is given; fails at the steps that it is told."""

    fails_at: tuple[int, ...] = ()

    def open(self, step: int) -> None:
        self.written: list[tuple[int, dict[str, float]]] = []

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if step in self.fails_at:
            raise OSError(28, "No space left on device")
        self.written.append((step, dict(values)))


def sink() -> Kept:
    return Kept(Path("runs/depth/plain-20-seed0"), "depth", ExperimentConfig())


def step(number: int, norms: Mapping[str, float] | None = None) -> Step:
    return Step(number, rate=0.1, batch=Totals(5.0, 3, 10), images_per_second=40.0, gradient_norms=norms)


def test_the_sinks_are_the_files_of_the_folder() -> None:
    assert {"tensorboard", "wandb"} <= set(sink_names())
    assert not {"base", "console"} & set(sink_names())


def test_an_unknown_sink_gets_the_legal_names() -> None:
    with pytest.raises(UserError, match=rf"log: got 'tensorbord'; legal: {', '.join(sink_names())}"):
        open_sinks(["tensorbord"], Path("run"), "study", ExperimentConfig(), print)


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_is_named_with_its_extra(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"resnet_jax.training.observers.{name}", raising=False)
    with pytest.raises(UserError, match=rf"needs the package {package}.*\[{name}\]"):
        sink_classes([name])


def test_a_sink_receives_every_tenth_step_and_each_recorded_gradient() -> None:
    kept = sink()
    kept.begin(0)
    for number in range(1, 21):
        kept.step(step(number, {"conv1": 0.5} if number == 7 else None))
    train = {"train/loss": 0.5, "train/error": 0.3, "train/learning_rate": 0.1, "train/images_per_second": 40.0}
    assert kept.written == [(7, {"gradient_norm/conv1": 0.5}), (10, train), (20, train)]


def test_a_sink_receives_evaluations_and_epochs() -> None:
    kept = sink()
    kept.begin(0)
    kept.evaluation("test", 12, Totals(8.0, 1, 4))
    kept.epoch(MetricsLine(1, 12, 0.1, 0.25, 0.125, 2.0, 0.25), 40.0)
    kept.evaluation("train", 12, Totals(6.0, 3, 12))
    assert kept.written == [
        (12, {"test/loss": 2.0, "test/error": 0.25}),
        (12, {"running/loss": 0.25, "running/error": 0.125}),
        (12, {"final/loss": 0.5, "final/error": 0.25}),
    ]


def test_a_session_that_begins_after_the_last_step_writes_nothing_twice() -> None:
    kept = sink()
    kept.begin(12)
    kept.evaluation("train", 12, Totals(6.0, 3, 12))
    assert kept.written == []


def test_a_failure_is_said_once_and_the_sink_is_left_alone_after_it() -> None:
    kept, notes = sink(), []
    kept.fails_at = (10,)
    guarded = Guarded("kept", kept, notes.append)
    guarded.begin(0)
    for number in range(1, 31):
        guarded.step(step(number))
    guarded.close()
    assert len(notes) == 1
    assert "--log kept" in notes[0]
    assert "No space left on device" in notes[0]
    assert kept.written == []


def test_a_stop_goes_through_a_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(step: int) -> None:
        raise KeyboardInterrupt

    kept = sink()
    monkeypatch.setattr(kept, "open", stop)
    with pytest.raises(KeyboardInterrupt):
        Guarded("kept", kept, print).begin(0)
