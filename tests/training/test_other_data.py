"""A finished run is known by its data's fingerprint: it counts wherever they lie, and never for other data."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from experiments import sweep
from experiments.states import state
from experiments.studies import experiments
from experiments.study import Study
from resnet_jax import data
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.errors import UserError
from resnet_jax.record import read_record, record_to_json
from resnet_jax.training.run import run

NPZ = override(
    experiments()["digits-plain"],
    {
        "model.depth": 8,
        "model.width": 1,
        "data.source": "npz",
        "data.path": "data.npz",
        "train.iterations": 2,
        "train.batch_size": 8,
        "train.eval_batch_size": 10,
        "train.eval_every": 0,
        "optim.milestones": (),
    },
)
NAME = "plain-8-seed0"


def write(file: Path, seed: int) -> Path:
    draw = np.random.default_rng(seed)
    arrays = {f"{split}_images": draw.integers(0, 256, (20, 8, 8, 1), np.uint8) for split in ("train", "test")}
    labels = {f"{split}_labels": np.arange(20) % 4 for split in ("train", "test")}
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays, **labels)
    return file


def config_of(path: Path | str) -> ExperimentConfig:
    return override(NPZ, {"data.path": str(path)})


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Files change under this process's hands here, which they do not within one command."""
    data._fingerprint.cache_clear()
    yield
    data._fingerprint.cache_clear()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The directory of a run that finished elsewhere, as its record alone: copied from another machine."""
    there = tmp_path / "there" / "data.npz"
    run(config_of(write(there, seed=1)), tmp_path / "run" / NAME, study="tiny")
    here = tmp_path / "runs" / "tiny" / NAME
    here.mkdir(parents=True)
    shutil.copy(tmp_path / "run" / NAME / "record.json", here)
    return here


def test_the_same_data_at_another_path_are_the_same_run(made: Path, tmp_path: Path) -> None:
    shutil.move(tmp_path / "there", tmp_path / "elsewhere")
    config = config_of(tmp_path / "elsewhere" / "data.npz")
    assert state(made, config) == "finished"
    assert run(config, made, study="tiny") == read_record(made / "record.json")


@pytest.mark.parametrize("same_path", [True, False])
def test_other_data_are_another_run_whatever_their_path(made: Path, tmp_path: Path, same_path: bool) -> None:
    path = write(tmp_path / ("there" if same_path else "elsewhere") / "data.npz", seed=2)
    assert "a run on other data, with fingerprint" in state(made, config_of(path))
    with pytest.raises(UserError, match=r"a run on other data, with fingerprint .* is .*; choose another directory"):
        run(config_of(path), made, study="tiny")
    # Nothing of this configuration was left in the directory.
    assert [entry.name for entry in made.iterdir()] == ["record.json"]


def test_data_that_are_not_here_are_no_reason_to_run_again_at_the_path_of_the_record_alone(
    made: Path, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "there")
    assert state(made, config_of(tmp_path / "there" / "data.npz")) == "finished"
    assert "the data asked for cannot be compared with them" in state(made, config_of(tmp_path / "nowhere.npz"))
    with pytest.raises(UserError, match=r"nowhere\.npz', but there is no such file"):
        run(config_of(tmp_path / "nowhere.npz"), made, study="tiny")


def test_a_part_of_the_data_is_other_data(made: Path, tmp_path: Path) -> None:
    config = override(config_of(tmp_path / "there" / "data.npz"), {"data.train_subset": 12})
    assert state(made, config).startswith("another configuration: data.train_subset is ")


def test_an_unfinished_run_goes_on_with_the_same_data_elsewhere_and_with_no_other(tmp_path: Path) -> None:
    there, directory = write(tmp_path / "there" / "data.npz", seed=1), tmp_path / NAME
    with pytest.raises(KeyboardInterrupt):
        run(config_of(there), directory, study="tiny", stop=lambda: True)
    with pytest.raises(UserError, match="a run on other data"):
        run(config_of(write(tmp_path / "other.npz", seed=2)), directory, study="tiny")
    moved = Path(shutil.move(there, tmp_path / "moved.npz"))
    record = run(config_of(moved), directory, study="tiny")
    assert record.cost.sessions == 2
    assert record.config.data.path == str(moved)
    whole = run(config_of(moved), tmp_path / "whole", study="tiny")
    assert record.final_fingerprint == whole.final_fingerprint


def test_a_sweep_counts_the_record_made_elsewhere_and_refuses_that_of_other_data(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study("tiny", NPZ, ({"model.depth": 8},), seeds=(0,))
    monkeypatch.setattr(sweep, "studies", lambda: {"tiny": (study, "a tiny study")})
    moved = Path(shutil.move(tmp_path / "there" / "data.npz", tmp_path / "moved.npz"))
    assert sweep.main(["tiny", f"--runs={tmp_path}/runs", f"--data.path={moved}"]) == 0
    assert "all runs are finished (1)" in capsys.readouterr().out
    other = write(tmp_path / "other.npz", seed=2)
    assert sweep.main(["tiny", f"--runs={tmp_path}/runs", f"--data.path={other}"]) == 2
    text = " ".join(capsys.readouterr().out.split())
    assert "a run on other data, with fingerprint" in text
    assert "0 of 1 runs finished, 1 failed" in text
    assert read_record(made / "record.json").status == "finished"


def test_the_digits_of_a_record_are_compared_too(made: Path) -> None:
    """They have no path: another version of scikit-learn may hold other images."""
    config = override(experiments()["digits-plain"], {"model.depth": 8})
    record = read_record(made / "record.json")
    (made / "record.json").write_text(record_to_json(dataclasses.replace(record, config=config)))
    assert "a run on other data, with fingerprint" in state(made, config)
    right = dataclasses.replace(record.data, fingerprint=data.fingerprint(config.data))
    (made / "record.json").write_text(record_to_json(dataclasses.replace(record, config=config, data=right)))
    assert state(made, config) == "finished"
