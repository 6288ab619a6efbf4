"""One folder is one value, however its path is written."""

from pathlib import Path

import pytest

from resnet_jax.config import DataConfig, ExperimentConfig, FinetuneConfig, one_spelling


@pytest.mark.parametrize("spelling", ["x", "x/", "./x", "y/../x", ".//x//"])
def test_spellings_of_a_folder(spelling: str) -> None:
    given = ExperimentConfig(
        data=DataConfig(source="folder", path=spelling), finetune=FinetuneConfig(weights=f"{spelling}")
    )
    found = one_spelling(given)
    assert (found.data.path, found.finetune.weights) == ("x", "x")


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (
        one_spelling(ExperimentConfig(finetune=FinetuneConfig(weights="~/net"))).finetune.weights == f"{tmp_path}/net"
    )
    assert one_spelling(ExperimentConfig()) == ExperimentConfig()
