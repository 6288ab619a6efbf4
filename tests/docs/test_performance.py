"""The committed tables of docs/performance.md follow from the committed records."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmark.table import render

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = sorted((DOCS / "records").glob("benchmark-*.json"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_tables_are_those_of_the_records(record: Path) -> None:
    assert render(record) in (DOCS / "performance.md").read_text()


def test_there_are_records() -> None:
    assert len(RECORDS) >= 3
