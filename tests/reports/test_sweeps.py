"""From a study's file to its figure and its table: sweeps of one field, of two, and one that is partly finished."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from experiments.report import main
from experiments.study import Study
from resnet_jax.config import flatten, to_dict
from resnet_jax.reports.report import write_report
from resnet_jax.reports.runs import read_runs
from tests.reports.factory import write_run

WIDTH = '''
"""Width of a ResNet-20 on real 8x8 digits: how many channels does the task need?"""

from experiments.studies.digits import RESNET
from experiments.study import Study, grid

STUDIES = (Study("digits-width", RESNET, grid(model__width=(4, 8, 16, 32)), seeds=(0, 1, 2)),)
'''
SURVIVAL = '''
"""Stochastic depth in a ResNet-56 on real 8x8 digits: which survival probability is best?"""

from experiments.studies.digits_shortcuts import DIGITS_56
from experiments.study import Study, grid

STUDIES = (Study("digits-survival", DIGITS_56, grid(model__survival=(0.2, 0.4, 0.6, 0.8, 1.0)), seeds=(0, 1, 2)),)
'''
RATES = '''
"""Learning rates of a plain and a residual net on real 8x8 digits."""

from experiments.studies.digits import RESNET
from experiments.study import Study, grid

AXES = {"model__shortcut": ("none", "A"), "optim__learning_rate": (0.003, 0.03, 0.3)}
STUDIES = (Study("digits-rates", RESNET, grid(**AXES), seeds=(0, 1, 2)),)
'''
GRID = '''
"""Width and depth of plain nets on real 8x8 digits: does a wider net degrade less?"""

from experiments.studies.digits import RESNET
from experiments.study import Study, grid
from resnet_jax.config import override

PLAIN = override(RESNET, {"model.shortcut": "none"})
STUDIES = (Study("digits-grid", PLAIN, grid(model__width=(4, 8, 16), model__depth=(8, 20, 32)), seeds=(0, 1, 2)),)
'''
FILES = {
    WIDTH: ("error-against-width", {"model.width"}),
    SURVIVAL: ("error-against-survival-probability", {"model.survival"}),
    RATES: ("error-against-learning-rate", {"model.shortcut", "optim.learning_rate"}),
    GRID: ("error-against-depth", {"model.width", "model.depth"}),
}


def study_of(text: str) -> Study:
    names: dict[str, Any] = {}
    exec(text, names)  # as Python reads a study's file
    (study,) = names["STUDIES"]
    assert isinstance(study, Study)
    return study


def write_runs(text: str, root: Path, unfinished: str = "nothing", absent: str = "nothing") -> Path:
    """Runs of a study with invented errors; some as if they were still running, or had not begun."""
    study = study_of(text)
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


@pytest.mark.parametrize("text", FILES)
def test_a_study_s_file_of_a_few_lines_ends_in_a_figure_and_in_columns(text: str, tmp_path: Path) -> None:
    stem, varied = FILES[text]
    assert text.count("\n") <= 25
    report = write_report(read_runs([write_runs(text, tmp_path / "runs")]), tmp_path / "report")
    assert f"{stem}.png" in {path.name for path in report.files}
    rows = list(csv.DictReader((tmp_path / "report" / "table.csv").read_text().splitlines()))
    variants = list(study_of(text).runs(seeds=(0,)).values())
    assert len(rows) == len(variants)
    for field in varied:
        expected = {str(flatten(to_dict(config))[field]) for config in variants}
        assert {row[field] for row in rows} == expected


def test_a_partly_finished_sweep_keeps_its_axis_and_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_runs(WIDTH, tmp_path, unfinished="width=8-seed2", absent="width=32")
    assert main([str(folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 unfinished, not in these numbers: digits-width/resnet-20-width=8-seed2" in shown
    assert "3 of the study not begun: digits-width/resnet-20-width=32-seed0, " in shown
    rows = list(csv.DictReader((folder / "report" / "table.csv").read_text().splitlines()))
    assert [(row["model.width"], row["finished"]) for row in rows] == [("4", "3"), ("8", "2"), ("16", "3")]
    assert (folder / "report" / "error-against-width.png").exists()
    report = (folder / "report" / "report.md").read_text()
    assert "digits-width/resnet-20-width=8-seed2: unfinished, 96 of 240 iterations done" in report
    assert "digits-width/resnet-20-width=32-seed1: not begun." in report
