"""Several steps in one dispatch are the same steps, with everything that a run does between them in its place."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.config import ExperimentConfig, override
from resnet_jax.data.order import epoch_ends
from resnet_jax.errors import UserError
from resnet_jax.record import read_gradients, read_metrics, read_record
from resnet_jax.training.checkpoints import steps_in
from resnet_jax.training.loop import Interrupted, Trainer
from resnet_jax.training.program import Program, prepare
from resnet_jax.training.run import run
from tests.training.test_loop import SMALL, stop_after
from tests.training.test_resume import Notes, final_state, largest_difference

# 896 images in batches of 128: an epoch, with an evaluation, ends after step 7, and another after step 14.
FOURTEEN = override(
    SMALL,
    {
        "data.train_subset": 896,
        "data.pad": 1,
        "train.iterations": 14,
        "optim.milestones": (5, 10),
        "train.checkpoint_steps": 7,
        "train.gradient_norms_every": 3,
    },
)
SEVEN = {"train.steps_per_dispatch": 7}


def dispatches(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """The steps of each dispatch from here on."""
    seen: list[range] = []
    original = Program.train

    def noting(self: Program, state: Any, steps: range) -> Any:
        seen.append(steps)
        return original(self, state, steps)

    monkeypatch.setattr(Program, "train", noting)
    return seen


@pytest.mark.slow  # two runs in float64; test_in_every_mode_and_from_the_host has the same steps without a run
@pytest.mark.usefixtures("x64")
def test_seven_at_once_are_seven_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = override(FOURTEEN, {"model.dtype": "float64"})
    seen = dispatches(monkeypatch)
    for name, changes in (("one", {}), ("seven", SEVEN)):
        run(override(config, changes), tmp_path / name, study="test")
    assert seen[14:] == [range(7), range(7, 14)]
    ours, theirs = (final_state(config, tmp_path / name) for name in ("seven", "one"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13), ours, theirs)
    for name, read in (("metrics.jsonl", read_metrics), ("gradients.jsonl", read_gradients)):
        found: list[list[Any]] = [read(tmp_path / run / name) for run in ("seven", "one")]
        assert [line.step for line in found[0]] == [line.step for line in found[1]]
        assert [numbers(line) for line in found[0]] == [pytest.approx(numbers(line), rel=1e-12) for line in found[1]]
    assert steps_in(tmp_path / "seven" / "checkpoints") == [7, 14]


def numbers(line: Any) -> dict[str, float]:
    values = line.norms if hasattr(line, "norms") else vars(line)
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize("mode", ["jit", "shard_map", pytest.param("pmap", marks=pytest.mark.slow)])
@pytest.mark.parametrize("placement", ["device", pytest.param("host", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("x64")
def test_in_every_mode_and_from_the_host(mode: str, placement: str) -> None:
    changes = {"parallel.mode": mode, "parallel.devices": 2, "data.placement": placement}
    config = override(FOURTEEN, {"model.dtype": "float64", "train.steps_per_dispatch": 3, **changes})
    program = prepare(config)
    state, report = program.train(program.put(program.assembly.initial), range(3))
    one_by_one = program.put(program.assembly.initial)
    for step, own in zip(range(3), program.reports(report, 3), strict=True):
        one_by_one, expected = program.train(one_by_one, range(step, step + 1))
        (expected,) = program.reports(expected, 1)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), own, expected)
    assert largest_difference(program.fetch(state).params, program.fetch(one_by_one).params) < 1e-13


@pytest.mark.slow  # three nets are compiled and take 50 steps each
def test_fifty_at_once_drift_no_further_than_another_mode() -> None:
    # 896 images are 56 batches of 16, so that fifty steps fit into an epoch and into one dispatch.
    changes = {"train.iterations": 50, "optim.milestones": (30,), "train.batch_size": 16, "train.checkpoint_steps": 0}
    config = override(FOURTEEN, changes)

    def after_50(**changes: Any) -> Any:
        program = prepare(override(config, changes))
        state = program.put(program.assembly.initial)
        for step in range(0, 50, program.steps_per_dispatch):
            state, _ = program.train(state, range(step, step + program.steps_per_dispatch))
        assert program.steps_per_dispatch == changes.get("train.steps_per_dispatch", 1)
        return program.fetch(state).params

    one = after_50()
    another_mode = largest_difference(after_50(**{"parallel.mode": "shard_map", "parallel.devices": 2}), one)
    assert largest_difference(after_50(**{"train.steps_per_dispatch": 50}), one) < 10 * another_mode


@pytest.mark.slow  # two runs of 24 steps, with programs of one step and of seven
def test_a_run_stopped_between_dispatches_goes_on_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Steps 1 to 7 at once, 8 to 10 one by one to a checkpoint, 11 to 14 one by one to the end of an epoch, and so on.
    config = override(FOURTEEN, {**SEVEN, "train.iterations": 24, "train.checkpoint_steps": 10})
    whole = run(config, tmp_path / "whole", study="test")
    seen = dispatches(monkeypatch)
    with pytest.raises(Interrupted, match="interrupted at step 7 of 24"):  # heard after one dispatch
        run(config, tmp_path / "run", study="test", stop=stop_after(1))
    with pytest.raises(Interrupted, match="interrupted at step 12 of 24"):
        run(config, tmp_path / "run", study="test", stop=stop_after(5))
    record = run(config, tmp_path / "run", study="test")
    assert [len(steps) for steps in seen] == [7, *[1] * (3 + 4 + 6 + 1 + 3)]
    assert [step for steps in seen for step in steps] == list(range(24))
    assert record.final_fingerprint == whole.final_fingerprint
    assert record.final == whole.final
    for name in ("metrics.jsonl", "gradients.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_run_may_go_on_with_another_number_of_steps_in_a_dispatch(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(override(FOURTEEN, SEVEN), tmp_path / "run", study="test", stop=stop_after(1))
    record = run(FOURTEEN, tmp_path / "run", study="test")
    assert [session.step for session in record.sessions] == [0, 7]


def test_a_step_inside_a_dispatch_diverges_by_its_own_number(tmp_path: Path) -> None:
    wild = override(FOURTEEN, {"optim.learning_rate": 1e20})
    steps = [
        run(override(wild, changes), tmp_path / str(len(changes)), study="test").diverged_at_step
        for changes in ({}, SEVEN)
    ]
    assert steps[0] == steps[1]
    assert steps[0] is not None
    assert 1 < steps[0] < 7


@pytest.mark.parametrize(("checkpoint_steps", "batch_size"), [(0, 128), (10, 128), (1, 128), (12, 100), (7, 2000)])
def test_boundaries_are_where_the_host_has_something_to_do(checkpoint_steps: int, batch_size: int) -> None:
    class Fake:
        config: ExperimentConfig = override(
            SMALL, {"train.checkpoint_steps": checkpoint_steps, "train.batch_size": batch_size}
        )
        examples = 1437

    steps, found = 0, []
    while steps < 30:
        steps = Trainer._next_boundary(Fake(), steps)  # type: ignore[arg-type]  # it needs no more of a trainer
        found.append(steps)
    ends = epoch_ends(30, examples=1437, batch_size=batch_size)
    checkpoints = range(0, 31, checkpoint_steps)[1:] if checkpoint_steps else []
    assert found == sorted({*ends, *checkpoints, 30})


def test_what_auto_stands_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as nothing_compiled:
        for name in ("train", "evaluate"):
            nothing_compiled.setattr(f"resnet_jax.training.compiled.Steps.{name}", lambda *_: None)
        assert prepare(SMALL).steps_per_dispatch == 1  # a CPU
        nothing_compiled.setattr("resnet_jax.training.program.CPU_DISPATCH", 4)
        assert prepare(SMALL).steps_per_dispatch == 4
        assert prepare(override(SMALL, {"train.iterations": 2})).steps_per_dispatch == 2  # never more than there are
        # Nor than fit between two boundaries: 1437 images hold two batches of 600; a checkpoint is due each 3 steps.
        assert prepare(override(SMALL, {"train.batch_size": 600})).steps_per_dispatch == 2
        assert prepare(override(SMALL, {"train.checkpoint_steps": 3})).steps_per_dispatch == 3
    with pytest.raises(UserError, match=r"train\.steps_per_dispatch: got 0; legal: 'auto' or a whole number above 0"):
        override(SMALL, {"train.steps_per_dispatch": 0})
    with pytest.raises(UserError, match=r"train\.steps_per_dispatch: got 'all'; legal: 'auto'"):
        override(SMALL, {"train.steps_per_dispatch": "all"})
    notes = Notes()
    run(override(SMALL, {"train.iterations": 2, **SEVEN}), tmp_path / "run", study="test", observers=(notes,))
    assert read_record(tmp_path / "run" / "record.json").config.train.steps_per_dispatch == 7
    assert any("2 steps in each dispatch" in note for note in notes.notes)
