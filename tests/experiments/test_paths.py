"""Paths on the command line: the home folder, folders that are not there yet, names that are too long."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments import cli
from experiments.options import parse
from experiments.study import LONGEST_NAME, variant_name
from resnet_jax.config import DataConfig, ExperimentConfig
from resnet_jax.errors import UserError


@dataclass(frozen=True)
class Chosen:
    """A command's options."""

    config: ExperimentConfig
    runs: Path
    out: Path | None = None
    images: tuple[Path, ...] = ()


def test_the_home_folder_is_expanded_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    words = ["--config.data.source=npz", "--config.data.path=~/x/", "--runs=~/runs", "--images", "~/a.png", "b.png"]
    found = parse(Chosen, words, program="test", description=None)
    assert found == Chosen(
        ExperimentConfig(data=DataConfig(source="npz", path="/home/me/x")),
        Path("/home/me/runs"),
        None,
        (Path("/home/me/a.png"), Path("b.png")),
    )


def test_the_folder_of_a_result_is_made_before_the_work(tmp_path: Path) -> None:
    cli.prepare_output(tmp_path / "new" / "deep" / "e.json", "out")
    assert list((tmp_path / "new" / "deep").iterdir()) == []
    with pytest.raises(UserError, match=r"out: .*new is a folder; legal: a file"):
        cli.prepare_output(tmp_path / "new", "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        cli.prepare_output(tmp_path / "file" / "e.json", "out")


def test_a_run_of_many_changes_has_a_name_that_file_systems_take() -> None:
    config = ExperimentConfig()
    changes = {f"train.some_long_field_name_{i}": i for i in range(18)}
    name = variant_name(config, changes)
    assert len(name.encode()) <= LONGEST_NAME
    assert name.startswith("resnet-20-some_long_field_name_0=0-")
    other = variant_name(config, {**changes, "train.some_long_field_name_17": 99})
    assert other != name
    assert variant_name(config, {"seed": 1}) == "resnet-20-seed=1"
    assert dataclasses.is_dataclass(config)
