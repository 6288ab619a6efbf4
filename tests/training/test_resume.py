"""A run that goes on elsewhere, or after something went bad, against the same run never stopped."""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.config import ExperimentConfig, override
from resnet_jax.errors import UserError
from resnet_jax.record import read_metrics, read_record
from resnet_jax.training.assemble import assemble
from resnet_jax.training.checkpoints import Checkpoints
from resnet_jax.training.loop import Interrupted
from resnet_jax.training.observers.base import Observer
from resnet_jax.training.run import run
from tests.training.test_checkpoints import LOUD, no_file_larger_than
from tests.training.test_loop import SMALL, stop_after


def final_state(config: ExperimentConfig, directory: Path) -> Any:
    """The state of a finished run, from its last checkpoint."""
    assembly = assemble(config)
    restored = Checkpoints(directory / "checkpoints", keep=1).restore(assembly.blank, assembly.dataset.fingerprint)
    assert restored is not None
    assert int(restored[0].step) == config.train.iterations
    return restored[0]


def largest_difference(a: Any, b: Any) -> float:
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in leaves)


def rates_and_momenta(state: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.dtype == np.float64]


EIGHT = {"parallel.devices": 8}
SESSIONS = {
    "8 to 2 to 1": (EIGHT, {"parallel.devices": 2}, {}),
    "pmap to jit": ({"parallel.mode": "pmap", **EIGHT}, {}),
    "jit to shard_map to pmap": ({}, {"parallel.mode": "shard_map", **EIGHT}, {"parallel.mode": "pmap", **EIGHT}),
    "other places": ({"data.placement": "host"}, {"data.placement": "device", "model.remat": True}),
    "scanned to pmap": ({"model.stages": "scanned"}, {"parallel.mode": "pmap", "parallel.devices": 2}),
}


@pytest.mark.parametrize(
    ("name", "scope"),
    [(name, "ghost" if name == "pmap to jit" else "global") for name in SESSIONS],
)
@pytest.mark.slow  # three to four programs each; without modes and devices, the tests below go on too
@pytest.mark.usefixtures("x64")
def test_a_run_may_go_on_in_another_mode_on_other_devices(tmp_path: Path, name: str, scope: str) -> None:
    sessions: tuple[dict[str, Any], ...] = SESSIONS[name]
    changes = {
        "model.dtype": "float64",
        "train.iterations": 14,
        "optim.milestones": (8,),
        "model.norm.scope": scope,
        **({"model.norm.ghost_size": 16} if scope == "ghost" else {}),
        # Three blocks a stage, two of them alike, where they are scanned.
        "model.depth": 20 if name.startswith("scanned") else 8,
    }
    config = override(SMALL, changes)
    whole = run(config, tmp_path / "whole", study="test")
    for session in sessions[:-1]:
        with pytest.raises(Interrupted):
            run(override(config, session), tmp_path / "run", study="test", stop=stop_after(5))
    record = run(override(config, sessions[-1]), tmp_path / "run", study="test")
    ours, theirs = (final_state(config, tmp_path / name) for name in ("run", "whole"))
    assert largest_difference(ours.params, theirs.params) < 1e-11
    assert largest_difference(ours.batch_stats, theirs.batch_stats) < 1e-11
    assert largest_difference(rates_and_momenta(ours), rates_and_momenta(theirs)) < 1e-11
    assert [(s.step, s.devices) for s in record.sessions] == [
        (5 * i, session.get("parallel.devices", 1)) for i, session in enumerate(sessions)
    ]
    assert whole.final is not None
    assert record.final is not None
    assert record.final.test_error == whole.final.test_error


def test_devices_with_statistics_of_their_own_are_part_of_the_run(tmp_path: Path) -> None:
    config = override(SMALL, {"model.norm.scope": "device", "parallel.devices": 2})
    with pytest.raises(Interrupted):
        run(config, tmp_path / "run", study="test", stop=stop_after(2))
    with pytest.raises(UserError, match=r"another configuration \(parallel.devices is 2, not 4"):
        run(override(config, {"parallel.devices": 4}), tmp_path / "run", study="test")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run of SMALL."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    run(SMALL, directory, study="test")
    return directory


def as_the_whole(place: Path, whole: Path) -> None:
    assert (place / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    ours, theirs = (read_record(p / "record.json") for p in (place, whole))
    assert ours.final == theirs.final
    assert ours.final_fingerprint == theirs.final_fingerprint is not None


class Notes(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(whole: Path, tmp_path: Path) -> None:
    place, notes = tmp_path / "run", Notes()
    with pytest.raises(Interrupted):
        run(SMALL, place, study="test", stop=stop_after(25))
    (manifest,) = (place / "checkpoints" / "25").glob("manifest")
    manifest.write_bytes(manifest.read_bytes()[:-7])
    record = run(SMALL, place, study="test", observers=(notes,))
    assert any("25: damaged (manifest has changed); renamed" in note for note in notes.notes)
    assert any("continues from the checkpoint of step 20" in note for note in notes.notes)
    assert [session.step for session in record.sessions] == [0, 20]
    as_the_whole(place, whole)


@pytest.mark.parametrize("lost", [0, 1])
def test_lines_that_are_gone_are_missed(whole: Path, tmp_path: Path, lost: int) -> None:
    place = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(SMALL, place, study="test", stop=stop_after(25))
    kept = (place / "metrics.jsonl").read_text().splitlines(keepends=True)
    (place / "metrics.jsonl").write_text("".join(line for i, line in enumerate(kept) if i != lost))
    with pytest.raises(UserError, match=rf"line of step {(12, 23)[lost]} is missing, and the checkpoint is of step 25"):
        run(SMALL, place, study="test")
    (place / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match="the line of step 12 is missing"):
        run(SMALL, place, study="test")
    (place / "metrics.jsonl").write_text("".join(kept))  # brought back
    run(SMALL, place, study="test")
    as_the_whole(place, whole)


def test_a_line_too_many_is_noticed(tmp_path: Path) -> None:
    place = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(SMALL, place, study="test", stop=stop_after(25))
    lines = (place / "metrics.jsonl").read_text().splitlines(keepends=True)
    (place / "metrics.jsonl").write_text(lines[0] + "".join(lines))
    with pytest.raises(UserError, match="there are too many lines of step 12"):
        run(SMALL, place, study="test")


def test_the_last_line_is_missed_too(whole: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    shutil.copytree(whole, place)
    (place / "record.json").unlink()
    lines = (place / "metrics.jsonl").read_text().splitlines(keepends=True)
    (place / "metrics.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match="the line of step 30 is missing"):
        run(SMALL, place, study="test")


def test_timings_of_any_kind_do_not_keep_a_run_from_its_end(whole: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(SMALL, place, study="test", stop=stop_after(25))
    with open(place / "timings.jsonl", "a") as file:
        file.write('7\n"words"\n{"train_s": "long"}\n{"session": 1}\n{"session": {"step": 3}}\n')
    record = run(SMALL, place, study="test")
    assert record.cost.sessions == len(record.sessions) == 2
    as_the_whole(place, whole)


def test_metrics_of_another_kind_are_damage(tmp_path: Path) -> None:
    place = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(SMALL, place, study="test", stop=stop_after(25))
    text = (place / "metrics.jsonl").read_text()
    (place / "metrics.jsonl").write_text(text.replace('"step": 12', '"step": "12"'))
    with pytest.raises(UserError, match=r"metrics\.jsonl: line 1 is damaged"):
        run(SMALL, place, study="test")


def test_killed_while_a_file_of_the_run_is_written(tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    for name in (".lock", ".config.json.123", ".metrics.jsonl.123", ".record.json.123"):
        (place / name).write_text("{")
    with pytest.raises(Interrupted):
        run(SMALL, place, study="test", stop=stop_after(2))
    assert not list(place.glob(".*.123"))


def test_checkpoints_of_another_seed_are_refused(tmp_path: Path) -> None:
    for seed in (0, 1):
        with pytest.raises(Interrupted):
            run(override(SMALL, {"seed": seed}), tmp_path / f"{seed}", study="test", stop=stop_after(2))
    shutil.rmtree(tmp_path / "0" / "checkpoints")
    shutil.copytree(tmp_path / "1" / "checkpoints", tmp_path / "0" / "checkpoints")
    with pytest.raises(UserError, match="a checkpoint of another run: seed is 1 in the checkpoint and 0 in this run"):
        run(SMALL, tmp_path / "0", study="test")


def test_a_file_in_the_place_of_the_checkpoints_is_named_and_nothing_lost(tmp_path: Path) -> None:
    place = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(SMALL, place, study="test", stop=stop_after(13))
    lines = (place / "metrics.jsonl").read_bytes()
    (place / "checkpoints").rename(tmp_path / "away")
    (place / "checkpoints").write_text("")
    with pytest.raises(UserError, match="checkpoints: is a file"):
        run(SMALL, place, study="test")
    assert (place / "metrics.jsonl").read_bytes() == lines


@LOUD
def test_a_full_disk_ends_a_run_in_a_sentence_and_room_lets_it_go_on(whole: Path, tmp_path: Path) -> None:
    place, stop = tmp_path / "run", stop_after(13)

    def interrupt_and_finish_with_no_room() -> None:
        with no_file_larger_than(1000):
            run(SMALL, place, study="test")

    with pytest.raises(Interrupted):
        run(SMALL, place, study="test", stop=stop)
    with pytest.raises(
        UserError, match=r"20: the checkpoint could not be written \(.+\); earlier checkpoints are unchanged"
    ):
        interrupt_and_finish_with_no_room()
    assert not (place / "record.json").exists()
    run(SMALL, place, study="test")
    as_the_whole(place, whole)


def test_killed_between_the_last_checkpoint_and_the_record(whole: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    run(SMALL, place, study="test")
    (place / "record.json").unlink()
    record = run(SMALL, place, study="test")
    assert [session.step for session in record.sessions] == [0, 30]
    assert [line.step for line in read_metrics(place / "metrics.jsonl")] == [12, 23, 30]
    as_the_whole(place, whole)
