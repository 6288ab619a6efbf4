"""docs/analysis.md follows from the committed measurements."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from resnet_jax.record import read_record
from resnet_jax.reports.figures.draw import figures

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = DOCS.parent / "experiments" / "records"
FILES = sorted((RECORDS / "analysis").glob("*.json"))
TEXT = (DOCS / "analysis.md").read_text(encoding="utf-8")
PROSE = " ".join(TEXT.split())


def measured(name: str) -> dict[str, Any]:
    """The nets of a measurement by name."""
    nets = json.loads((RECORDS / "analysis" / f"{name}.json").read_text())["nets"]
    return {net["name"]: net for net in nets}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_measurement_has_its_figures_shown(file: Path) -> None:
    for suffix in figures(json.loads(file.read_text())):
        assert f"](figures/analysis/{file.stem}{suffix}.png)" in TEXT


WITHOUT_ORIGIN = {
    "gradient-flow",
    "gradient-identity",
    "layer-responses-decay",
    "loss-landscape",
    "signal-propagation",
}
"""Measured before files stated their origin, and not measured again yet."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_measurement_states_its_origin_and_its_runs_are_among_the_records(file: Path) -> None:
    content = json.loads(file.read_text())
    if file.stem in WITHOUT_ORIGIN:
        pytest.skip("measured by an earlier version")
    assert content["command"].startswith("python -m experiments.analyze ")
    assert content["environment"]["device"]
    assert re.fullmatch(r"[\d.]+ [0-9a-f]{12}", content["environment"]["code"])  # a commit, and no changes beside it
    for net in content["nets"]:
        assert net["config"]["model"]["depth"] == net["depth"]
        if net.get("run") is not None:
            record = json.loads((RECORDS / net["run"] / "record.json").read_text())
            # The model is measured with its stages unrolled, and perhaps in float64.
            for part in ("data", "optim", "train", "seed"):
                assert net["config"][part] == record["config"][part]
            assert record["environment"]["code"] == net["code"]


def test_a_net_has_one_number_in_all_documents() -> None:
    """The nets looked inside are those of digits-depth with seed 0: recording gradients changes no bit."""
    compared = 0
    for file in sorted((RECORDS / "digits-analysis").glob("*/record.json")):
        other = RECORDS / "digits-depth" / file.parent.name / "record.json"
        if other.exists():
            assert read_record(file).final_fingerprint == read_record(other).final_fingerprint
            compared += 1
    assert compared == 6


def test_the_table_of_gradients() -> None:
    rows = re.findall(r"^\| ((?:plain|ResNet)-\d+) \| ([\d.e]+) \| ([\d.]+) \| ([\d.e]+) \|$", TEXT, re.MULTILINE)
    nets = measured("gradient-flow")
    assert {name.lower() for name, *_ in rows} == set(nets)
    for name, first, last, ratio in rows:
        norms = nets[name.lower()]["initial"]
        expected = (norms[0], norms[-2], norms[0] / norms[-2])
        assert [float(first), float(last), float(ratio)] == pytest.approx(expected, rel=0.05)


def test_the_identity_is_said_to_hold_as_far_as_it_does() -> None:
    net = measured("gradient-identity")["preact-resnet-56"]
    left = [a / b for a, b in zip(net["left"], net["gradient"], strict=True)]
    assert max(left[1:]) < 6e-16
    assert "below 6e-16" in PROSE


def test_the_responses_under_decay_are_those_of_the_table() -> None:
    nets = measured("layer-responses-decay")
    rows = re.findall(r"^\| ((?:plain|ResNet)-\d+) \| ((?:0\.\d{3}, )+0\.\d{3}) \| (0\.\d{3}) \|$", TEXT, re.MULTILINE)
    means: dict[str, list[float]] = {}
    for name, each, mean in rows:
        seeds = [net for of_seed, net in nets.items() if of_seed.startswith(f"{name.lower()}-seed")]
        means[name] = [sum(net["std"]) / len(net["std"]) for net in seeds]
        assert each == ", ".join(f"{of_seed:.3f}" for of_seed in means[name])
        assert mean == f"{sum(means[name]) / len(means[name]):.3f}"
    assert sum(map(len, means.values())) == len(nets)
    assert max(means["ResNet-56"]) < min(means["ResNet-20"])
    assert max(means["ResNet-56"]) < sum(means["ResNet-20"]) / 3 / 2
    weaker = [
        sum(a > b for a, b in zip(nets[f"plain-20-seed{s}"]["std"], nets[f"resnet-20-seed{s}"]["std"], strict=True))
        for s in range(3)
    ]
    assert weaker == [9, 15, 14]


def test_the_lesions_are_those_of_the_text() -> None:
    plain, residual = (measured("lesions")[name] for name in ("plain-32", "resnet-32"))
    single = sorted(round(100 * error, 1) for error in residual["single"][1:])
    assert f"but the first leaves {single[0]} to {single[-1]} %" in PROSE
    assert f"leaves {100 * residual['single'][0]:.1f} %" in PROSE
    assert f"between {100 * min(plain['single']):.0f} and {100 * max(plain['single']):.0f} %" in PROSE


def test_the_table_of_signals() -> None:
    nets = measured("signal-propagation")
    of_nets = [nets[name] for name in ("plain-56", "resnet-56", "preact-resnet-56")]
    assert all(net["exact"] for net in of_nets)
    for row, values in (
        ("forward variance", [net["variance"][-1] for net in of_nets]),
        ("largest singular value", [net["largest"][0][-1] for net in of_nets]),
        ("smallest singular value", [net["smallest"][0][-1] for net in of_nets]),
        ("autocorrelation at lag 1", [net["autocorrelation"][-1][1] for net in of_nets]),
    ):
        (cells,) = re.findall(rf"^\| {row} \| (.*) \|$", TEXT, re.MULTILINE)
        said = [float(cell.replace("\N{MINUS SIGN}", "-")) for cell in cells.split(" | ")]
        assert said == pytest.approx(values, rel=0.005, abs=0.0005)
    plain, residual = ([nets[name][kind][0] for kind in ("largest", "smallest")] for name in ("plain-56", "resnet-56"))
    for (largest, smallest), condition in ((plain, "1.9e7"), (residual, "180")):
        assert largest[-1] / smallest[-1] == pytest.approx(float(condition), rel=0.02)
        assert f"a condition number of {condition}" in PROSE
    assert f"rises in the first stage to {max(plain[1][:10]):.1f}" in PROSE
    assert max(plain[1]) == max(plain[1][:10])
    assert f"from {residual[1][0]:.1f} by {max(residual[1]):.0f} to {residual[1][-1]:.1f}" in PROSE
    assert f"from {residual[0][0]:.0f} to {residual[0][-1]:.0f}" in PROSE


def test_the_table_of_path_lengths() -> None:
    of_nets = [measured("path-lengths")[name] for name in ("resnet-32", "resnet-56")]
    for row, weights in (
        ("mean length of all paths", [net["paths"] for net in of_nets]),
        (
            "mean length, weighted by the gradient carried",
            [[p * sum(n) / len(n) for p, n in zip(net["paths"], net["norms"], strict=True)] for net in of_nets],
        ),
    ):
        (cells,) = re.findall(rf"^\| {row} \| (.*) \|$", TEXT, re.MULTILINE)
        means = [sum(length * w for length, w in enumerate(ws)) / sum(ws) for ws in weights]
        assert [float(cell) for cell in cells.split(" | ")] == pytest.approx(means, abs=0.05)
