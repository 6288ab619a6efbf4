"""The table of ingredients in results.md follows from the committed records."""

import re
import statistics

import pytest

from experiments.passages.ingredients import RECORDS, ingredients
from resnet_jax.record import Final, read_record


def finals(name: str) -> list[Final]:
    found = [read_record(file).final for file in sorted(RECORDS.glob(f"{name}-seed*/record.json"))]
    assert None not in found
    return [final for final in found if final is not None]


def test_a_line_of_it_by_hand() -> None:
    (base, cosine) = (finals(f"resnet-20{changes}") for changes in ("", "-schedule=cosine"))
    errors = [100 * final.test_error for final in cosine]
    apart = [a - 100 * b.test_error for a, b in zip(errors, base, strict=True)]
    (line,) = (line for line in ingredients().splitlines() if line.startswith("| resnet-20 | cosine |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2:4] == ["3", f"{statistics.mean(errors):.2f} ± {statistics.stdev(errors):.2f}"]
    mean, deviation = re.findall(r"\d+\.\d+", cells[4])
    assert float(mean) == pytest.approx(abs(statistics.mean(apart)), abs=0.005)
    assert float(deviation) == pytest.approx(statistics.stdev(apart), abs=0.005)
    assert float(cells[6]) == pytest.approx(statistics.mean(final.test_loss for final in cosine), abs=5e-4)
