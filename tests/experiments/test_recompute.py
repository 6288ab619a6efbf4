"""The command that looks at finished runs with other batch statistics: what it says, and that it touches nothing."""

import json
import shutil
from pathlib import Path

import pytest

from experiments import cli
from experiments.recompute import main
from resnet_jax.config import override
from resnet_jax.errors import UserError
from resnet_jax.record import read_record
from resnet_jax.training.run import run
from tests.training.test_loop import SMALL

SHORT = override(SMALL, {"train.iterations": 12, "train.checkpoint_steps": 5, "optim.milestones": ()})


def files(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_good_runs_get_their_row_and_others_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    good = run(SHORT, runs / "good", study="test")
    run(override(SHORT, {"train.recompute_batch_stats": True}), runs / "already", study="test")
    run(override(SHORT, {"optim.learning_rate": 1e20}), runs / "diverged", study="test")
    shutil.copytree(runs / "good", runs / "damaged")
    (runs / "damaged" / "checkpoints" / "12" / "manifest").write_bytes(b"")
    shutil.copytree(runs / "good", runs / "bare", ignore=shutil.ignore_patterns("checkpoints"))
    before = files(runs)
    out = tmp_path / "out.json"
    assert main([str(runs), "--out", str(out), "--compiled", str(tmp_path)]) == cli.BAD_INPUT
    assert files(runs) == before
    (row,) = json.loads(out.read_text())["rows"]
    assert row["run"] == "good"
    assert good.final is not None
    assert row["train_error"]["running"] == good.final.train_error
    assert row["test_error"]["running"] == good.final.test_error
    said = capsys.readouterr().err
    for sentence in (
        "already: trained with train.recompute_batch_stats",
        "diverged: this run diverged at step",
        "damaged: the checkpoint of its last step, 12, is damaged",
        "bare: the checkpoint of the last step, 12, is missing",
    ):
        assert sentence in said


def test_no_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none given"):
        main([])
    with pytest.raises(UserError, match=r"no run with a record\.json, neither here"):
        main([str(tmp_path)])


def test_a_run_of_eight_devices_is_looked_at_on_one(tmp_path: Path) -> None:
    config = override(SHORT, {"parallel.devices": 8, "parallel.mode": "pmap"})
    run(config, tmp_path / "run", study="test")
    out = tmp_path / "out.json"
    assert main([str(tmp_path / "run"), "--out", str(out), "--compiled", str(tmp_path)]) == cli.OK
    (row,) = json.loads(out.read_text())["rows"]
    final = read_record(tmp_path / "run" / "record.json").final
    assert final is not None
    assert row["test_error"]["running"] == pytest.approx(final.test_error, abs=0.01)
