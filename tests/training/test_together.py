"""Seeds of one net trained together leave what separate runs leave, and either goes on with what the other began."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.config import ExperimentConfig, override
from resnet_jax.data.batches import Batch
from resnet_jax.errors import UserError
from resnet_jax.record import read_metrics, read_record
from resnet_jax.training import loop
from resnet_jax.training.checkpoint import steps_in
from resnet_jax.training.directory import RunDirectory
from resnet_jax.training.feed import FromHost
from resnet_jax.training.loop import Interrupted, run, run_together
from resnet_jax.training.recompute import recompute
from resnet_jax.training.setup import can_go_together, prepare, together_pays
from tests.training.test_loop import SMALL, stop_after
from tests.training.test_resume import Notes, final_state, largest_difference

# 1,437 digits in batches of 128: an epoch ends after step 12. Random crops, so that each seed's own draws count.
CONFIG = override(
    SMALL,
    {
        "model.dtype": "float64",
        "data.pad": 1,
        "train.iterations": 14,
        "optim.milestones": (8,),
        "train.checkpoint_steps": 5,
    },
)
SEEDS = (0, 1)


@pytest.fixture(autouse=True, scope="module")
def in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def of(seed: int) -> ExperimentConfig:
    return override(CONFIG, {"seed": seed})


def runs_in(folder: Path, seeds: tuple[int, ...] = SEEDS) -> dict[Path, ExperimentConfig]:
    return {folder / f"seed{seed}": of(seed) for seed in seeds}


@pytest.fixture(scope="module")
def separate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run for each seed, one after another."""
    folder = tmp_path_factory.mktemp("separate")
    for directory, config in runs_in(folder).items():
        run(config, directory, study="test")
    return folder


def numbers(found: Any) -> dict[str, float]:
    """Of a line or a result, what there is."""
    return {name: value for name, value in dataclasses.asdict(found).items() if value is not None}


def equal_runs(ours: Path, theirs: Path, seed: int) -> None:
    """The same files, and the same numbers but for rounding."""
    name = f"seed{seed}"
    a, b = (final_state(of(seed), folder / name) for folder in (ours, theirs))
    assert largest_difference(a.params, b.params) < 1e-10
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-10), a, b)
    lines = [read_metrics(folder / name / "metrics.jsonl") for folder in (ours, theirs)]
    assert [line.step for line in lines[0]] == [12, 14]
    for x, y in zip(*lines, strict=True):
        assert numbers(x) == pytest.approx(numbers(y), rel=1e-10)
    records = [read_record(folder / name / "record.json") for folder in (ours, theirs)]
    assert numbers(records[0].final) == pytest.approx(numbers(records[1].final), rel=1e-10)
    assert records[0].initial_fingerprint == records[1].initial_fingerprint
    assert {p.name for p in (ours / name).iterdir()} == {p.name for p in (theirs / name).iterdir()}


@pytest.mark.slow  # the nets are compiled here, for all tests of this file
def test_seeds_trained_together_are_those_trained_apart(separate: Path, tmp_path: Path) -> None:
    notes = Notes()
    records = run_together(runs_in(tmp_path), study="test", display=notes)
    assert [path.name for path in records] == ["seed0", "seed1"]
    for seed, (path, record) in enumerate(records.items()):
        equal_runs(tmp_path, separate, seed)
        assert record == read_record(path / "record.json")
        assert [sitting.together for sitting in record.sittings] == [2]
        assert steps_in(path / "checkpoints") == steps_in(separate / path.name / "checkpoints") == [10, 14]
    assert read_record(separate / "seed0" / "record.json").sittings[0].together == 1
    # Two seeds are two runs: equal to 1e-10 is not how they look.
    a, b = (final_state(of(seed), tmp_path / f"seed{seed}") for seed in SEEDS)
    assert largest_difference(a.params, b.params) > 0.1


def test_a_group_that_was_interrupted_goes_on_apart(separate: Path, tmp_path: Path) -> None:
    runs = runs_in(tmp_path)
    with pytest.raises(Interrupted, match=rf"step 7 of 14, checkpoints of 2 runs kept in {tmp_path}; the same command"):
        run_together(runs, study="test", stop=stop_after(7))
    for seed, (directory, config) in enumerate(runs.items()):
        assert steps_in(directory / "checkpoints") == [5, 7]
        record = run(config, directory, study="test")
        assert [(sitting.step, sitting.together) for sitting in record.sittings] == [(0, 2), (7, 1)]
        equal_runs(tmp_path, separate, seed)


def test_runs_begun_apart_go_on_together_from_one_step(separate: Path, tmp_path: Path) -> None:
    # Seed 2 has begun too, but stands elsewhere.
    for seed, steps in ((0, 3), (1, 3), (2, 1)):
        with pytest.raises(Interrupted):
            run(of(seed), tmp_path / f"seed{seed}", study="test", stop=stop_after(steps))
    records = run_together(runs_in(tmp_path, (2, 0, 1)), study="test")
    assert [path.name for path in records] == ["seed0", "seed1"]
    for seed in SEEDS:
        equal_runs(tmp_path, separate, seed)
    assert steps_in(tmp_path / "seed2" / "checkpoints") == [1]
    assert not (tmp_path / "seed2" / "record.json").exists()


def test_a_diverged_seed_ends_and_the_others_go_on(
    separate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Any = loop.prepare

    def with_a_broken_net(*arguments: Any, **named: Any) -> Any:
        setup = original(*arguments, **named)
        head = jax.tree.map(lambda x: np.full_like(x, np.nan), setup.initials[0].params["head"])
        broken = setup.initials[0].replace(params={**setup.initials[0].params, "head": head})
        return dataclasses.replace(setup, initials=(broken, *setup.initials[1:]))

    monkeypatch.setattr(loop, "prepare", with_a_broken_net)
    notes = Notes()
    first, second = run_together(runs_in(tmp_path), study="test", display=notes).values()
    assert (first.status, first.diverged_at_step, first.final) == ("diverged", 1, None)
    assert read_record(tmp_path / "seed0" / "record.json") == first
    assert not (tmp_path / "seed0" / "metrics.jsonl").exists()
    assert any("seed0: the loss is not finite at step 1; run ended" in note for note in notes.notes)
    assert second.status == "finished"
    equal_runs(tmp_path, separate, 1)


def test_what_cannot_go_together_is_left_as_it_is(separate: Path, tmp_path: Path) -> None:
    shutil.copytree(separate / "seed0", tmp_path / "seed0")
    runs = runs_in(tmp_path, (0, 1, 2))
    with RunDirectory(tmp_path / "seed1", of(1)):
        # One has finished, one is in other hands: too few.
        assert run_together(runs, study="test") == {}
    assert not (tmp_path / "seed2").exists()
    with RunDirectory(tmp_path / "seed2", of(2)):
        pass  # and nobody holds it


def test_checkpoints_that_turn_out_to_be_of_different_steps(tmp_path: Path) -> None:
    runs = runs_in(tmp_path)
    with pytest.raises(Interrupted):
        run_together(runs, study="test", stop=stop_after(7))
    (tmp_path / "seed0" / "checkpoints" / "7" / "manifest").write_text("{}")
    with pytest.raises(UserError, match="the runs' checkpoints are not of one step"):
        run_together(runs, study="test")
    assert read_timings(tmp_path / "seed1") == 1  # the sitting that never began has left no trace
    assert run_together(runs, study="test") == {}  # the damaged one has been put aside: 5 and 7


def read_timings(directory: Path) -> int:
    return (directory / "timings.jsonl").read_text().count('"sitting"')


def test_where_seeds_can_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_go_together(CONFIG)
    for changes in ({"parallel.devices": 2}, {"parallel.mode": "pmap"}):
        assert not can_go_together(override(CONFIG, changes))
    assert not together_pays(CONFIG)  # a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert together_pays(CONFIG)
    assert not together_pays(override(CONFIG, {"model.family": "imagenet", "model.depth": 18}))


def test_images_on_the_device_are_not_copied_for_each_seed() -> None:
    setup = prepare(CONFIG, seeds=SEEDS)
    (resident,) = setup._feed.fixed
    assert resident.images.shape == (1797, 8, 8, 1)
    state = setup.put(*setup.initials)
    assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves(state))
    memory = setup.memory()
    assert memory is not None
    assert memory[0] - sum(leaf.nbytes for leaf in jax.tree.leaves(state)) < 1.5 * resident.images.nbytes
    # From the host each seed is sent its own.
    at = np.array([[5, 3], [1, 2], [7, 7]], np.int32)
    sent = FromHost(setup.dataset).train(Batch(at, at))
    np.testing.assert_array_equal(sent.images[1, 1], setup.dataset.train.images[2])
    assert sent.labels.shape == (3, 2)


def test_each_seeds_statistics_are_recomputed_from_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def averages(setup: Any, params: Any, batch_stats: Any, seed: int) -> Any:
        return jax.tree.map(lambda x: np.full_like(x, 10 * seed + params["head"]["bias"].sum()), batch_stats)

    monkeypatch.setattr("resnet_jax.training.recompute.averages", averages)
    setup = prepare(CONFIG, seeds=SEEDS)
    states = [jax.tree.map(lambda x, i=i: x + i, state) for i, state in enumerate(setup.initials)]
    for i, new in enumerate(setup.fetch_each(recompute(setup, setup.put(*states)))):
        assert {float(value) for leaf in jax.tree.leaves(new.batch_stats) for value in leaf} == {10.0 * i + 10 * i}
        np.testing.assert_array_equal(new.params["head"]["kernel"], states[i].params["head"]["kernel"])
