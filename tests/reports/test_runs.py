"""Finding and reading run directories, whole and damaged."""

import json
import shutil
from pathlib import Path

import pytest

from resnet_jax.errors import UserError
from resnet_jax.reports.runs import read_runs
from tests.reports.factory import write_run


def test_a_run_a_study_and_a_folder_of_studies_are_all_found(tmp_path: Path) -> None:
    one = write_run(tmp_path / "runs", seed=0)
    write_run(tmp_path / "runs", seed=1)
    write_run(tmp_path / "runs", seed=2, study="other")
    assert len(read_runs([one]).complete) == 1
    assert len(read_runs([one.parent]).complete) == 2
    assert len(read_runs([tmp_path / "runs"]).complete) == 3
    assert len(read_runs([one, one.parent, tmp_path / "runs"]).complete) == 3


def test_reports_hidden_folders_and_checkpoints_are_no_runs(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    for folder in (run.parent / "report", tmp_path / ".compiled", run / "checkpoints" / "3"):
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("x")
    (tmp_path / ".hidden" / "run").mkdir(parents=True)
    (tmp_path / ".hidden" / "run" / "config.json").write_text("{}")
    runs = read_runs([tmp_path])
    assert (len(runs.complete), runs.unfinished, runs.warnings) == (1, (), ())


def test_unfinished_runs_stand_apart(tmp_path: Path) -> None:
    write_run(tmp_path, seed=0)
    write_run(tmp_path, seed=1, finished=False)
    runs = read_runs([tmp_path])
    assert len(runs.complete) == 1
    (unfinished,) = runs.unfinished
    assert (unfinished.step, unfinished.iterations) == (96, 240)  # 4 of 10 epochs
    assert unfinished.name == "digits-depth/plain-20-it240-rate0.1-seed1"


def test_a_run_that_has_only_begun_is_unfinished(tmp_path: Path) -> None:
    run = write_run(tmp_path, finished=False)
    (run / "metrics.jsonl").unlink()
    assert read_runs([tmp_path]).unfinished[0].step == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: text.replace('"depth": 20', '"depth": 21'),
        lambda text: text.replace('"depth": 20', '"deepth": 20'),
        lambda text: text.replace('"schema": 1', '"schema": 99'),
        lambda text: text.replace('"train_error": 0.01', '"train_error": 1.7'),
        lambda text: text.replace('"train_error": 0.01', '"train_error": NaN'),
        lambda text: text.replace('"train_error": 0.01', '"train_error": "low"'),
        lambda text: text.replace('"status": "finished"', '"status": "diverged"'),
        lambda text: json.dumps(json.loads(text) | {"config": "lost"}),
        lambda text: json.dumps(json.loads(text) | {"data": "lost"}),
    ],
)
def test_a_damaged_record_is_named_and_costs_only_itself(tmp_path: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    write_run(tmp_path, seed=0)
    path = write_run(tmp_path, seed=1) / "record.json"
    spoilt = spoil(path.read_text())
    assert spoilt != path.read_text()
    path.write_text(spoilt)
    runs = read_runs([tmp_path])
    assert [run.seed for run in runs.complete] == [0]
    (warning,) = runs.warnings
    assert str(path) in warning
    assert "\n" not in warning
    assert path.read_text() == spoilt  # nothing is repaired or deleted


def test_a_record_that_did_not_count_every_example_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path) / "record.json"
    values = json.loads(path.read_text())
    values["final"]["test_examples"] = 352  # the last partial batch dropped
    path.write_text(json.dumps(values))
    (warning,) = read_runs([tmp_path]).warnings
    assert "352" in warning
    assert "360" in warning


def test_damaged_metrics_cost_the_curve_and_not_the_result(tmp_path: Path) -> None:
    path = write_run(tmp_path) / "metrics.jsonl"
    path.write_text("{\n" + path.read_text())
    runs = read_runs([tmp_path])
    assert len(runs.warnings) == 1
    (run,) = runs.complete
    assert run.train_error == 0.01
    assert run.running_error is None


def test_a_copy_counts_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    shutil.copytree(run, tmp_path / "b" / "copied" / run.name)
    runs = read_runs([tmp_path / "a", tmp_path / "b"])
    assert len(runs.complete) == 1
    assert runs.warnings == ()


def test_a_second_run_of_one_configuration_with_another_result_is_told_of(tmp_path: Path) -> None:
    first = write_run(tmp_path, train=0.01, study="a")
    second = write_run(tmp_path, train=0.02, study="b")
    runs = read_runs([first, second])
    assert [run.train_error for run in runs.complete] == [0.01]
    assert str(second) in runs.warnings[0]


def test_no_runs_and_no_directory_are_errors_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no runs here; a run directory holds"):
        read_runs([tmp_path])
    with pytest.raises(UserError, match="no such directory"):
        read_runs([tmp_path / "nowhere"])


@pytest.mark.parametrize("cut", ["in a line", "between lines"])
def test_a_finished_run_whose_metrics_are_cut_short_is_read_and_named(cut: str, tmp_path: Path) -> None:
    """In an unfinished run, half a line is what a kill leaves. A finished run wrote all its lines: its file was cut."""
    finished, unfinished = write_run(tmp_path, seed=0), write_run(tmp_path, seed=1, finished=False)
    for run in (finished, unfinished):
        file = run / "metrics.jsonl"
        text = file.read_text()
        file.write_text(text[:-20] if cut == "in a line" else "".join(text.splitlines(keepends=True)[:-1]))
    runs = read_runs([tmp_path])
    assert (len(runs.complete), len(runs.unfinished)) == (1, 1)
    (warning,) = runs.warnings
    assert str(finished / "metrics.jsonl") in warning
    assert "half-written" in warning
