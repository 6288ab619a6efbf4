"""docs/analysis.md follows from the committed measurements."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from experiments.passages import instruments
from resnet_jax.record import read_record
from resnet_jax.reports.figures.draw import figures

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = DOCS.parent / "experiments" / "records"
FILES = sorted((RECORDS / "analysis").glob("*.json"))
TEXT = (DOCS / "analysis.md").read_text(encoding="utf-8")


def measured(name: str) -> dict[str, Any]:
    """The nets of a measurement by name."""
    nets = json.loads((RECORDS / "analysis" / f"{name}.json").read_text())["nets"]
    return {net["name"]: net for net in nets}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_measurement_has_its_figures_shown(file: Path) -> None:
    for suffix in figures(json.loads(file.read_text())):
        assert f"](figures/analysis/{file.stem}{suffix}.png)" in TEXT


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_measurement_states_its_origin_and_its_runs_are_among_the_records(file: Path) -> None:
    content = json.loads(file.read_text())
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


def test_a_measured_number_by_hand() -> None:
    deleted = measured("lesions")["resnet-32"]["single"]
    assert instruments.measured("lesions", "resnet-32", "single.1:.max", ".1%") == f"{100 * max(deleted[1:]):.1f}"
    net = measured("gradient-identity")["resnet-56"]
    expected = max(a / b for a, b in zip(net["left"], net["gradient"], strict=True))
    assert instruments.value("gradient-identity", "resnet-56", "left/gradient.max") == pytest.approx(expected)
    norms = measured("gradient-flow")["plain-56"]["initial"]
    row = next(line for line in instruments.gradients("gradient-flow").splitlines() if "plain-56" in line)
    _, first, last, ratio, growth = row.strip("| ").split(" | ")
    assert [float(first), float(last), float(ratio)] == pytest.approx(
        [norms[0], norms[-2], norms[0] / norms[-2]], rel=0.01
    )
    assert float(growth) ** (len(norms) - 2) == pytest.approx(float(ratio), rel=0.3)  # a factor of two decimals


def test_the_means_of_path_lengths_by_hand() -> None:
    nets = [measured("path-lengths")[name] for name in ("resnet-32", "resnet-56")]
    carried = [[p * sum(n) / len(n) for p, n in zip(net["paths"], net["norms"], strict=True)] for net in nets]
    table = instruments.mean_lengths("path-lengths").splitlines()
    for row, weights in ((3, [net["paths"] for net in nets]), (4, carried)):
        means = [sum(length * w for length, w in enumerate(ws)) / sum(ws) for ws in weights]
        assert [float(cell) for cell in table[row].strip("| ").split(" | ")[1:]] == pytest.approx(means, abs=0.05)


def test_the_identity_holds_to_rounding_for_preactivation_alone() -> None:
    assert instruments.value("gradient-identity", "preact-resnet-56", "left/gradient.1:.max") < 1e-15
    assert instruments.value("gradient-identity", "resnet-56", "left/gradient.min") > 0.1
    assert instruments.value("gradient-identity", "plain-56", "left/gradient.min") > 0.1


def test_under_decay_deeper_nets_and_residual_nets_respond_more_weakly_with_every_seed() -> None:
    means: dict[str, list[float]] = {}
    for name, net in measured("layer-responses-decay").items():
        means.setdefault(name.rpartition("-seed")[0], []).append(sum(net["std"]) / len(net["std"]))
    assert max(means["resnet-20"]) < min(means["plain-20"])
    assert max(means["resnet-56"]) < min(means["resnet-20"])
    assert [len(seeds) for seeds in means.values()] == [3, 3, 3]
    for file in (RECORDS / "digits-analysis-decay").glob("*/record.json"):
        assert json.loads(file.read_text())["final"]["train_error"] == 0.0


def test_signals_of_the_plain_net_degenerate() -> None:
    nets = measured("signal-propagation")
    assert all(net["exact"] for net in nets.values())
    plain, residual = ([nets[name][kind][0] for kind in ("largest", "smallest")] for name in ("plain-56", "resnet-56"))
    assert plain[0][-1] / plain[1][-1] > 1e7 > 1e3 > residual[0][-1] / residual[1][-1]
    assert max(plain[1]) == max(plain[1][:10])  # in the first stage
