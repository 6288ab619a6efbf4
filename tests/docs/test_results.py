"""The committed tables follow from the committed records."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resnet_jax.results.report import write_report
from resnet_jax.results.runs import read_runs

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_report(read_runs([DOCS / "records" / "digits-depth", DOCS / "records" / "digits-depth-long"]), folder)
    return folder


@pytest.mark.parametrize("name", ["table.md", "table.csv", "runs.csv"])
def test_tables_are_those_of_the_records(rebuilt: Path, name: str) -> None:
    assert (DOCS / "digits" / name).read_text() == (rebuilt / name).read_text()


def test_every_measured_value_in_the_text_is_in_the_report(rebuilt: Path) -> None:
    """Each "mean ± deviation" of the digits' part of results.md, as the report states it."""
    text = (DOCS / "results.md").read_text().split("## Parallel modes")[0]
    report = (rebuilt / "report.md").read_text()
    values = set(re.findall(r"\d+\.\d\d ± \d+\.\d\d", text))
    assert len(values) > 15
    assert [value for value in values if value not in report] == []


def test_every_link_of_readme_and_docs_leads_somewhere() -> None:
    for page in (DOCS.parent / "README.md", DOCS / "results.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
