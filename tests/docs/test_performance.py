"""The committed tables of docs/performance.md follow from the committed records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.benchmark.table import render

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = sorted((DOCS / "records").glob("benchmark-*.json"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_tables_are_those_of_the_records(record: Path) -> None:
    assert render(record) in (DOCS / "performance.md").read_text()


def test_the_text_says_how_compilation_grows_as_recorded() -> None:
    shallow, deep = json.loads((DOCS / "records" / "benchmark-1202.json").read_text())["results"]
    assert (shallow["net"], deep["net"]) == ("resnet-20", "resnet-1202")
    growth = deep["median"] / shallow["median"]
    assert f"It compiles in {growth:.2f} of it" in (DOCS / "performance.md").read_text()


def test_there_are_records() -> None:
    assert len(RECORDS) >= 3
