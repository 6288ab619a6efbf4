"""The numbers of docs/several-machines.md follow from the records, the net and the assumptions that the page states."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp

from resnet_jax.config import ModelConfig
from resnet_jax.models.resnet import build

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "several-machines.md").read_text()
RECORDS = ROOT / "experiments" / "records"
DEVICES = (8, 64, 256, 1024)
# Bytes a second of a link, seconds of a hop, images a second of a GPU: the page's assumptions.
FAST, SLOW = 400e9 / 8, 100e9 / 8
HOPS = (2e-6, 5e-6)
GPU_RATE = 3000.0


def counts() -> tuple[int, int, int]:
    """Parameters, layers of batch norm and their channels, of the net itself."""
    model = build(ModelConfig(family="imagenet", depth=50, shortcut="B", num_classes=1000))
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 224, 224, 3), jnp.float32), train=False)
    )
    means = [
        leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes["batch_stats"])
        if "mean" in str(path[-1])
    ]
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])), len(means), sum(means)


def test_what_a_step_adds_up_and_how_long_it_takes() -> None:
    parameters, layers, channels = counts()
    gradients = 4 * parameters
    assert f"| gradients | {parameters:,} numbers | {gradients / 1e6:.0f} MB |" in PAGE
    for numbers in (4, 2):
        size = numbers * 4 * channels
        assert f"| {layers} layers, {channels:,} channels, {numbers} numbers each | {size / 1e6:.2f} MB |" in PAGE
    assert f"There are {2 * layers} in a step" in PAGE
    for devices in DEVICES:
        sent = 2 * gradients * (devices - 1) / devices
        low, high = (2 * layers * 2 * math.log2(devices) * hop * 1e3 for hop in HOPS)
        row = f"| {devices:,} | {sent / 1e6:.0f} MB | {1e3 * sent / FAST:.1f} ms | {1e3 * sent / SLOW:.1f} ms |"
        assert f"{row} {low:.1f} to {high:.1f} ms |" in PAGE


def test_the_share_of_time_that_is_work() -> None:
    rows = json.loads((RECORDS / "benchmark-resnet50.json").read_text())["results"]
    (step,) = (row for row in rows if row["contestant"] == "resnet_jax" and row["phase"] == "train")
    assert step["batch_size"] == 16
    assert f"took {1e3 * step['median']:,.0f} ms for a step of 16 images" in PAGE
    parameters, layers, _ = counts()
    for devices in DEVICES:
        gradients = 2 * 4 * parameters * (devices - 1) / devices / FAST
        statistics = 2 * layers * 2 * math.log2(devices) * HOPS[1]
        cells = [
            f"{100 * work / (work + waits):.{places}f} %"
            for work, places in ((step["median"], 1), (32 / GPU_RATE, 0), (256 / GPU_RATE, 0))
            for waits in (gradients, gradients + statistics)
        ]
        assert f"| {devices:,} | {' | '.join(cells)} |" in PAGE


def test_the_differences_are_those_of_the_record() -> None:
    record = json.loads((RECORDS / "processes.json").read_text())
    runs = record["runs"]
    assert f"{len(runs)} runs of ResNet-8" in PAGE
    assert f"after {record['steps']} steps" in PAGE
    assert all(run["images"] == run["counts"] == "equal" and run["evaluated"] == 360 for run in runs)
    what = ("processes", "devices", "mode", "scope", "placement")
    assert len({tuple(run[name] for name in what) for run in runs}) == 3 * 2 * 2 * 3 * 2
    for processes in (1, 2, 4):
        worst = [max(run[n] for run in runs if run["processes"] == processes) for n in ("parameters", "losses")]
        assert max(worst) < 1e-13
        assert f"| {processes} | {worst[0]:.1e} | {worst[1]:.1e} |" in PAGE
