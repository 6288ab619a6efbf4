"""The committed tables follow from the committed records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from resnet_jax.record import read_record
from resnet_jax.results.report import write_report
from resnet_jax.results.runs import read_runs

DOCS = Path(__file__).parents[2] / "docs"


# What is rebuilt from which records.
REPORTS = {
    "digits": ("digits-depth", "digits-depth-long"),
    "digits-shortcuts": ("digits-shortcuts",),
    "digits-activations": ("digits-activations",),
    "sources": ("sources",),
}


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for name, studies in REPORTS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        write_report(read_runs([DOCS / "records" / study for study in studies]), folders[name])
    return folders


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("name", ["table.md", "table.csv", "runs.csv"])
def test_tables_are_those_of_the_records(rebuilt: dict[str, Path], report: str, name: str) -> None:
    assert (DOCS / report / name).read_text() == (rebuilt[report] / name).read_text()


def test_every_measured_value_in_the_text_is_in_the_report(rebuilt: dict[str, Path]) -> None:
    """Each "mean ± deviation" of the digits' part of results.md, as the report of its study states it."""
    text = (DOCS / "results.md").read_text().split("## Other sources")[0]
    parts = dict(zip(("digits", "digits-shortcuts", "digits-activations"), re.split(PARTS, text), strict=True))
    for name, part in parts.items():
        report = (rebuilt[name] / "report.md").read_text()
        values = set(re.findall(r"\d+\.\d\d ± \d+\.\d\d", part))
        assert len(values) > 5, name
        assert [value for value in values if value not in report] == [], name


# Headings in results.md, with which the part of a study begins.
PARTS = "## Shortcuts, taken apart|## Orders of activations"


def test_the_other_sources_errors_are_those_of_their_records() -> None:
    text = (DOCS / "results.md").read_text()
    records = [read_record(file) for file in sorted((DOCS / "records" / "sources").glob("*/record.json"))]
    assert len(records) == 2
    for record in records:
        assert record.final is not None
        assert f"| {record.final.train_error:.2%} | {record.final.test_error:.2%} |".replace("%", "") in text


def test_recomputed_statistics_change_what_the_text_says() -> None:
    text = (DOCS / "results.md").read_text()
    rows = json.loads((DOCS / "records" / "recomputed.json").read_text())["rows"]
    changes: dict[str, list[float]] = {"train_error": [], "test_error": []}
    for row in rows:
        pairs = [(row[split]["running"], row[split]["recomputed"]) for split in changes]
        assert f"| {row['run']} | " + " | ".join(f"{100 * e:.2f}" for pair in pairs for e in pair) + " |" in text
        for split, (before, after) in zip(changes, pairs, strict=True):
            changes[split].append(abs(after - before))
    largest = [f"{100 * max(values):.1f}" for values in changes.values()]
    assert f"by {largest[0]} points of training error and {largest[1]} of test error at most" in text


def test_parallel_modes_agree_as_the_table_says() -> None:
    """Each cell: the worst of the three modes after ten steps."""
    text = (DOCS / "results.md").read_text()
    rows = json.loads((DOCS / "records" / "equivalence.json").read_text())["rows"]
    worst: dict[tuple[str, str, str], dict[int, float]] = {}
    for row in rows:
        cells = worst.setdefault((row["net"], row["dtype"], row["scope"]), {})
        cells[row["devices"]] = max(cells.get(row["devices"], 0.0), row["drift"][-1])
    assert len(rows) == 2 * 2 * 3 * 3 * 3
    for (net, dtype, scope), cells in worst.items():
        assert list(cells) == [1, 2, 8]
        assert f"| {net} | {dtype} | {scope} | " + " | ".join(f"{d:.0e}" for d in cells.values()) + " |" in text
        assert dtype == "float32" or max(cells.values()) < 1e-11


def test_every_link_of_readme_and_docs_leads_somewhere() -> None:
    for page in (DOCS.parent / "README.md", DOCS / "results.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
