"""The committed tables of docs/performance.md follow from the committed records."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from experiments.benchmark.table import render

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = DOCS.parent / "experiments" / "records"
FILES = sorted(RECORDS.glob("benchmark-*.json"))


@pytest.mark.parametrize("record", FILES, ids=lambda path: path.stem)
def test_tables_are_those_of_the_records(record: Path) -> None:
    assert render(record) in (DOCS / "performance.md").read_text()


def test_the_text_says_how_compilation_grows_as_recorded() -> None:
    shallow, deep = json.loads((RECORDS / "benchmark-1202.json").read_text())["results"]
    assert (shallow["net"], deep["net"]) == ("resnet-20", "resnet-1202")
    growth = deep["median"] / shallow["median"]
    assert f"It compiles in {growth:.2f} of it" in (DOCS / "performance.md").read_text()


def test_the_aims_are_as_recorded() -> None:
    text = (DOCS / "performance.md").read_text()
    step, eval_step = (
        {(row["net"], row["contestant"]): row for row in results(name) if row["phase"] == phase}
        for name, phase in (("step", "train"), ("eval", "eval"))
    )
    two = "resnet_jax:parallel.devices=2,parallel.mode=shard_map"
    one_device, two_devices = (step["resnet-20", name]["ratio"] for name in ("resnet_jax", two))
    assert f"| {one_device:.2f}, and {two_devices:.2f} with a device for each core |" in text
    nets = ("resnet-20", "resnet-56", "resnet-110")
    slowest, *_, fastest = sorted(over_flax(step, net) for net in nets)
    assert f"train steps: {slowest:.1f} to {fastest:.1f} times as fast at batch 128" in text
    slowest, *_, fastest = sorted(over_flax(eval_step, net) for net in nets)
    assert f"eval steps of CIFAR's nets: {slowest:.2f} to {fastest:.2f}" in text
    plain, remat = (row["peak_resident_bytes"] / 1e9 for row in results("1202-step"))
    assert f"| {plain:.1f} GB, {remat:.1f} with remat |" in text


def results(name: str) -> list[dict[str, Any]]:
    """The rows of a record."""
    rows: list[dict[str, Any]] = json.loads((RECORDS / f"benchmark-{name}.json").read_text())["results"]
    return rows


def over_flax(rows: dict[tuple[str, str], dict[str, Any]], net: str) -> float:
    """How many times as fast as Flax's our step of a net is, by the median of the rounds."""
    ours, flax = (rows[net, name]["seconds"] for name in ("resnet_jax", "flax"))
    return statistics.median(b / a for a, b in zip(ours, flax, strict=True))


def test_there_are_records() -> None:
    assert len(FILES) >= 3
