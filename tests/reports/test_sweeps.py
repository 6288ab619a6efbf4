"""From a study's file to its figure and its table: sweeps of one field, of two, and one that is partly finished."""

import csv
import importlib
import json
from pathlib import Path

import pytest

from experiments import studies
from experiments.report import main
from experiments.study import Study
from resnet_jax.reports import fields
from resnet_jax.reports.report import write_report
from resnet_jax.reports.runs import read_runs
from resnet_jax.reports.text import MINUS
from tests.reports.factory import write_run

FILES = {
    "digits_width": ("error-against-width", {"model.width"}),
    "digits_survival": ("error-against-survival-probability", {"model.survival"}),
    "digits_rates": ("error-against-learning-rate", {"model.shortcut", "optim.learning_rate"}),
    "digits_width_depth": ("error-against-depth", {"model.width", "model.depth"}),
}
"""Each study's file, the figure that it ends in, and the fields that it varies."""


def study_of(file: str) -> Study:
    (study,) = importlib.import_module(f"experiments.studies.{file}").STUDIES
    assert isinstance(study, Study)
    return study


def write_runs(file: str, root: Path, unfinished: str = "nothing", absent: str = "nothing") -> Path:
    """Runs of a study with invented errors; some as if they were still running, or had not started."""
    study = study_of(file)
    for number, (name, config) in enumerate(study.runs().items()):
        if absent not in name:
            net = "plain" if config.model.is_plain else "resnet"
            changes = {key: config.value(key) for key in ("model.width", "model.survival") if config.value(key)}
            write_run(
                root, net, config.model.depth, config.seed, 0.001 * number, 0.01 * number, study=study.name, run=name,
                rate=config.optim.learning_rate, changes=changes, finished=unfinished not in name,
            )  # fmt: skip
    (root / study.name / "study.json").write_text(json.dumps({"runs": list(study.runs())}))
    return root / study.name


@pytest.mark.parametrize("file", FILES)
def test_a_study_s_file_of_a_few_lines_ends_in_a_figure_and_in_columns(file: str, tmp_path: Path) -> None:
    stem, varied = FILES[file]
    assert Path(str(studies.__path__[0]), f"{file}.py").read_text().count("\n") <= 25
    report = write_report(read_runs([write_runs(file, tmp_path / "runs")]), tmp_path / "report")
    assert f"{stem}.png" in {path.name for path in report.files}
    rows = list(csv.DictReader((tmp_path / "report" / "table.csv").read_text().splitlines()))
    variants = [fields.values(config) for config in study_of(file).runs(seeds=(0,)).values()]
    assert len(rows) == len(variants)
    for field in varied:
        assert {row[field] for row in rows} == {str(variant[field]) for variant in variants}


def test_a_partly_finished_sweep_keeps_its_axis_and_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_runs("digits_width", tmp_path, unfinished="width=8-seed2", absent="width=32")
    assert main([str(folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 unfinished, not in these numbers: digits-width/resnet-20-width=8-seed2" in shown
    assert "3 runs of the study not started: digits-width/resnet-20-width=32-seed0, " in shown
    rows = list(csv.DictReader((folder / "report" / "table.csv").read_text().splitlines()))
    assert [(row["model.width"], row["finished"]) for row in rows] == [("2", "3"), ("4", "3"), ("8", "2"), ("16", "3")]
    assert (folder / "report" / "error-against-width.png").exists()
    report = (folder / "report" / "report.md").read_text()
    assert "digits-width/resnet-20-width=8-seed2: unfinished, 96 of 240 iterations done" in report
    assert "digits-width/resnet-20-width=32-seed1: not started." in report
    assert f"width 2 {MINUS} 16" in report  # 16 is the field's default
    assert f"width 4 {MINUS} 2" not in report
