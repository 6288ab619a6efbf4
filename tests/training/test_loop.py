"""A run from its configuration to its record, interrupted and not."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.studies import experiments
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.data.order import eval_batches
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import build
from resnet_jax.record import read_metrics, read_record
from resnet_jax.training import loop
from resnet_jax.training.assemble import assemble
from resnet_jax.training.checkpoints import Checkpoints
from resnet_jax.training.loop import Interrupted
from resnet_jax.training.program import Program, prepare
from resnet_jax.training.run import run
from resnet_jax.training.run_directory import Busy, RunDirectory
from tests.training.test_mesh import compilations

# 1,437 digits in batches of 128: epochs end after steps 12, 23, 34.
SMALL = override(
    experiments()["digits-resnet"],
    {
        "model.depth": 8,
        "model.width": 4,
        "train.iterations": 30,
        "optim.learning_rate": 0.1,
        "optim.milestones": (20, 25),
        "train.checkpoint_steps": 10,
    },
)


def stop_after(steps: int) -> Callable[[], bool]:
    asked = itertools.count(1)
    return lambda: next(asked) >= steps


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run of SMALL."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    run(SMALL, directory, study="test")
    return directory


def test_a_run_leaves_its_record(whole: Path) -> None:
    record = read_record(whole / "record.json")
    assert record.status == "finished"
    assert record.config == SMALL
    assert record.final is not None
    assert (record.final.step, record.final.train_examples, record.final.test_examples) == (30, 1437, 360)
    assert record.final.train_error < 0.5  # it learns: chance is 0.9
    assert record.cost.sessions == 1
    lines = read_metrics(whole / "metrics.jsonl")
    assert [(line.step, line.epoch) for line in lines] == [(12, 1), (23, 2), (30, 2)]
    assert [line.learning_rate for line in lines] == [0.1, 0.01, 0.001]
    assert lines[-1].test_error == record.final.test_error
    assert record.environment.versions["jax"] == jax.__version__


def test_the_records_final_errors_are_those_of_its_last_state(whole: Path, tmp_path: Path) -> None:
    """Evaluated anew here, image by image, from the parameters of the same run."""
    program = prepare(SMALL)
    state = train_directly(program)
    record = read_record(whole / "record.json")
    model = build(program.assembly.config.model)
    from resnet_jax.data import normalization

    stats = normalization(program.assembly.dataset.train, SMALL.data)
    for split, error in (("train", record.final.train_error), ("test", record.final.test_error)):
        part = getattr(program.assembly.dataset, split)
        x = (part.images / 255.0 - stats.mean).astype(np.float32)
        logits = model.apply({"params": state.params, "batch_stats": state.batch_stats}, x, train=False)
        wrong = int((np.asarray(logits).argmax(axis=1) != part.labels).sum())
        assert wrong / len(part) == error


def train_directly(program: Program) -> Any:
    from resnet_jax.data.order import training_batches

    state = program.devices.replicate_state(program.assembly.initial)
    c = program.assembly.config
    batches = training_batches(seed=c.seed, examples=1437, batch_size=c.train.batch_size, first_step=0)
    for _ in range(c.train.iterations):
        state, _ = program.train_on(state, [next(batches)])
    return program.devices.fetch(state)


@pytest.mark.parametrize(
    "stops", [(1,), (23, 6), *(pytest.param(stops, marks=pytest.mark.slow) for stops in ((12,), (5, 7, 11, 1)))]
)
def test_an_interrupted_run_ends_as_one_never_stopped(whole: Path, tmp_path: Path, stops: tuple[int, ...]) -> None:
    for steps in stops:
        with pytest.raises(Interrupted, match="the same command resumes"):
            run(SMALL, tmp_path / "run", study="test", stop=stop_after(steps))
        assert not (tmp_path / "run" / "record.json").exists()
    record = run(SMALL, tmp_path / "run", study="test")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert record.final == read_record(whole / "record.json").final
    assert record.cost.sessions == len(stops) + 1


def test_lines_after_the_checkpoint_are_written_again_once(whole: Path, tmp_path: Path) -> None:
    """As after kill -9 between a line and the next checkpoint: the directory's newest checkpoint is an older one."""
    with pytest.raises(Interrupted):
        run(override(SMALL, {"train.checkpoint_steps": 0}), tmp_path / "run", study="test", stop=stop_after(13))
    place = tmp_path / "run"
    lines = (whole / "metrics.jsonl").read_text().splitlines()
    (place / "metrics.jsonl").write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])
    run(override(SMALL, {"train.checkpoint_steps": 0}), place, study="test")
    assert (place / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_a_finished_run_is_never_run_again(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_jax.training.run.prepare", lambda *_: pytest.fail("prepared"))
    assert run(SMALL, whole, study="test") == read_record(whole / "record.json")


def test_another_configuration_is_refused_and_nothing_is_lost(whole: Path) -> None:
    before = {p: p.read_bytes() for p in whole.iterdir() if p.is_file()}
    with pytest.raises(UserError, match=r"another configuration \(optim.learning_rate is 0.1, not 0.2"):
        run(override(SMALL, {"optim.learning_rate": 0.2}), whole, study="test")
    assert {p: p.read_bytes() for p in whole.iterdir() if p.is_file()} == before


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"not empty and not a run directory \(it has 'thesis.tex'"):
        run(SMALL, tmp_path, study="test")


def test_a_run_in_other_hands_is_left_to_them(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run", SMALL), pytest.raises(Busy, match="another process"):
        run(SMALL, tmp_path / "run", study="test")


def test_a_half_written_record_is_named(whole: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    (place / "config.json").write_bytes((whole / "config.json").read_bytes())
    (place / "record.json").write_bytes((whole / "record.json").read_bytes()[:100])
    with pytest.raises(UserError, match=r"record\.json: damaged or half-written"):
        run(SMALL, place, study="test")


def test_a_diverged_run_says_so_in_its_record(tmp_path: Path) -> None:
    # At an absurd rate the head, which no BN tames, overflows.
    config = override(SMALL, {"optim.learning_rate": 1e20})
    record = run(config, tmp_path / "run", study="test")
    assert record.status == "diverged"
    assert record.final is None
    assert record.diverged_at_step is not None
    assert 2 <= record.diverged_at_step <= 12
    assert all(math.isfinite(line.running_loss) for line in _lines(tmp_path / "run"))
    assert read_record(tmp_path / "run" / "record.json") == record


def _lines(place: Path) -> Any:
    return read_metrics(place / "metrics.jsonl") if (place / "metrics.jsonl").exists() else []


def test_the_loop_compiles_nothing_and_transfers_nothing_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Any = loop.Trainer._train
    seen: list[str] = []

    def guarded(self: Any, *arguments: Any) -> Any:
        with jax.transfer_guard("disallow"), compilations() as found:
            final = original(self, *arguments)
        seen.extend(found)
        return final

    monkeypatch.setattr(loop.Trainer, "_train", guarded)
    record = run(SMALL, tmp_path / "run", study="test")
    assert record.status == "finished"
    assert seen == []


def test_twins_share_their_initial_fingerprint(tmp_path: Path) -> None:
    short = override(SMALL, {"train.iterations": 1})
    records = [
        run(override(short, {"model.shortcut": s, "seed": seed}), tmp_path / f"{s}{seed}", study="test")
        for s, seed in (("A", 0), ("none", 0), ("A", 1))
    ]
    assert records[0].initial_fingerprint == records[1].initial_fingerprint != records[2].initial_fingerprint
    assert records[0].parameters == records[1].parameters


def test_another_number_of_classes_than_the_data_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.num_classes: got 7; legal: 10"):
        run(override(SMALL, {"model.num_classes": 7}), tmp_path / "run", study="test")


def test_float64_without_x64_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="JAX_ENABLE_X64=1"):
        run(override(SMALL, {"model.dtype": "float64"}), tmp_path / "run", study="test")


def test_a_checkpoint_of_another_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(SMALL, tmp_path / "run", study="test", stop=stop_after(2))
    other = assemble(override(SMALL, {"model.width": 5})).initial
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", keep=2)
    with pytest.raises(
        UserError, match=r"of another model: .* is float32\[4\] in the checkpoint and float32\[5\] in this run"
    ):
        checkpoints.restore(other, "any")
    checkpoints.close()


def test_timings_are_apart_from_metrics(whole: Path) -> None:
    for line in (whole / "metrics.jsonl").read_text().splitlines():
        assert not any(name.endswith("_s") for name in json.loads(line))
    assert sum("train_s" in json.loads(line) for line in (whole / "timings.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("mode", ["jit", "shard_map", "pmap"])
@pytest.mark.parametrize("batch", [128, *(pytest.param(batch, marks=pytest.mark.slow) for batch in (8, 1504))])
def test_evaluation_counts_every_example_in_every_mode(mode: str, batch: int) -> None:
    config: ExperimentConfig = override(
        SMALL, {"parallel.mode": mode, "parallel.devices": 8, "train.eval_batch_size": batch, "model.width": 1}
    )
    program = prepare(config)
    state = program.devices.replicate_state(program.assembly.initial)
    assert program.evaluate(state, "test").examples == 360
    assert len(list(eval_batches(360, batch))) == -(-360 // batch)


def test_data_that_changed_between_sessions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        run(SMALL, tmp_path / "run", study="test", stop=stop_after(2))
    monkeypatch.setattr("resnet_jax.data.dataset.Dataset.fingerprint", "0123456789abcdef")
    monkeypatch.setattr("resnet_jax.training.run.prepare", prepare)  # loads the data anew
    with pytest.raises(UserError, match="a run on other data"):
        run(SMALL, tmp_path / "run", study="test")


def test_a_net_that_its_last_update_broke_has_not_finished(tmp_path: Path) -> None:
    # The losses of both steps are finite: nothing but the evaluation after the second can tell.
    config = override(SMALL, {"optim.learning_rate": 1e30, "train.iterations": 2, "train.eval_every": 0})
    record = run(config, tmp_path / "run", study="test")
    assert record.status == "diverged"
    assert record.diverged_at_step == 2
    assert 0.0 < record.cost.images_per_second < 1e7
    json.loads((tmp_path / "run" / "record.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON


def test_a_timings_line_cut_short_costs_that_line_alone(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(SMALL, tmp_path / "run", study="test", stop=stop_after(2))
    with open(tmp_path / "run" / "timings.jsonl", "a") as file:
        file.write('{"step": 3, "tra')
    record = run(SMALL, tmp_path / "run", study="test")
    assert record.cost.sessions == 2


def test_a_record_of_another_configuration_is_not_taken_for_this_runs(whole: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    (place / "record.json").write_bytes((whole / "record.json").read_bytes())
    assert run(SMALL, place, study="test") == read_record(whole / "record.json")  # a record alone will do
    other = tmp_path / "other"
    other.mkdir()
    (other / "record.json").write_bytes((whole / "record.json").read_bytes())
    with pytest.raises(UserError, match=r"record of another configuration \(optim\.learning_rate is 0\.1, not 0\.2"):
        run(override(SMALL, {"optim.learning_rate": 0.2}), other, study="test")


def test_a_mistake_found_late_leaves_no_directory(tmp_path: Path) -> None:
    for changes in ({"model.num_classes": 7}, {"data.source": "npz", "data.path": "nowhere.npz"}):
        with pytest.raises(UserError):
            run(override(SMALL, changes), tmp_path / "run", study="test")
        assert list(tmp_path.iterdir()) == []
