"""The paper's number stands beside a run only where data and recipe are the paper's."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from resnet_jax.config import override
from resnet_jax.record import RunRecord
from resnet_jax.reports.papers.recipe import departures, paper_result
from resnet_jax.reports.tables import error_table
from resnet_jax.reports.text import NOTHING
from tests.reports.factory import CIFAR10, only, read, write_run

# He et al. 2015, Sec. 4.2, as changes to a default configuration.
RECIPE: dict[str, Any] = {
    "data.pad": 4,
    "data.flip": True,
    "data.normalize": "pixel_mean",
    "optim.milestones": (32_000, 48_000),
    "train.iterations": 64_000,
    "model.norm.scope": "ghost",
    "model.norm.ghost_size": 64,
}


def record(tmp_path: Path, depth: int = 56, **changes: Any) -> RunRecord:
    write_run(tmp_path, "resnet", depth, data=CIFAR10, changes=RECIPE | changes)
    return read(tmp_path)[0].complete[0].record


def change(record: RunRecord, name: str, value: Any) -> RunRecord:
    return dataclasses.replace(record, config=override(record.config, {name: value}))


@pytest.mark.parametrize(
    ("depth", "per_cent"), [(20, 8.75), (32, 7.51), (44, 7.17), (56, 6.97), (110, 6.61), (1202, 7.93)]
)
def test_table_6(tmp_path: Path, depth: int, per_cent: float) -> None:
    warmup = "error" if depth == 110 else "none"
    found = paper_result(record(tmp_path, depth, **{"optim.warmup": warmup}))
    assert found is not None
    assert found.test_error == pytest.approx(per_cent / 100)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.shortcut", "none"),
        ("model.shortcut", "B"),
        ("model.shortcut", "C"),
        ("model.depth", 26),
        ("model.block", "bottleneck"),
        ("model.activation_order", "full_preactivation"),
        ("model.width", 32),
        ("model.zero_gamma", True),
        ("model.dtype", "bfloat16"),
        ("model.norm.scope", "global"),
        ("model.norm.scope", "device"),  # of one device: 128 images
        ("model.norm.ghost_size", 32),
        ("model.norm.momentum", 0.99),
        ("model.norm.epsilon", 1e-3),
        ("data.normalize", "channel_mean_std"),
        ("data.pad", 0),
        ("data.flip", False),
        ("optim.learning_rate", 0.05),
        ("optim.momentum", 0.8),
        ("optim.weight_decay", 5e-4),
        ("optim.milestones", (32_000, 50_000)),
        ("optim.milestones", (32_000,)),
        ("optim.decay_factor", 0.2),
        ("optim.warmup", "error"),
        ("optim.warmup", "iterations"),
        ("train.iterations", 64_001),
        ("train.batch_size", 256),
    ],
)
def test_each_single_departure_takes_the_paper_away(tmp_path: Path, name: str, value: Any) -> None:
    papers = record(tmp_path, depth=20 if value == "bottleneck" else 56)
    assert departures(papers) == []
    if value == "bottleneck":
        papers = change(papers, "model.depth", 56)  # 56 is 6n+2 and 9n+2 alike
    assert paper_result(change(papers, name, value)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "CIFAR-10 at 16x16"),
        ("name", "cifar-10"),
        ("image_shape", (16, 16, 3)),
        ("num_classes", 100),
        ("train_examples", 45_000),
        ("test_examples", 9_984),
    ],
)
def test_other_data_take_the_paper_away(tmp_path: Path, name: str, value: Any) -> None:
    papers = record(tmp_path)
    assert paper_result(dataclasses.replace(papers, data=dataclasses.replace(papers.data, **{name: value}))) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 5),
        ("model.width", 16),
        ("model.block", "basic"),
        ("model.shortcut_padding", "both"),
        ("train.eval_batch_size", 1024),
        ("train.eval_every", 7),
        ("train.checkpoint_steps", 0),
        ("parallel.mode", "shard_map"),
    ],
)
def test_what_the_paper_leaves_open_does_not(tmp_path: Path, name: str, value: Any) -> None:
    assert paper_result(change(record(tmp_path), name, value)) is not None


def test_two_devices_with_their_own_statistics_are_the_papers_two_gpus(tmp_path: Path) -> None:
    papers = change(change(record(tmp_path), "parallel.devices", 2), "model.norm.scope", "device")
    assert paper_result(papers) is not None


def test_110_layers_need_the_warm_up(tmp_path: Path) -> None:
    without = record(tmp_path, 110)
    assert paper_result(without) is None
    with_it = change(without, "optim.warmup", "error")
    assert paper_result(with_it) is not None
    assert paper_result(change(with_it, "optim.warmup_rate", 0.02)) is None


def test_the_papers_column_appears_with_the_paper_and_never_otherwise(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "resnet", 56, 0, 0.001, 0.07, data=CIFAR10, changes=RECIPE)
    write_run(tmp_path / "a", "plain", 56, 0, 0.1, 0.13, data=CIFAR10, changes=RECIPE)
    table = error_table(only(tmp_path / "a"))
    assert table.headers[-2:] == ("He et al. 2015, Table 6, %", "difference, points")
    assert [row[-2:] for row in table.rows] == [("6.97", "+0.03"), (NOTHING, NOTHING)]
    write_run(tmp_path / "b", "resnet", 56, 0, 0.001, 0.07, data=CIFAR10, changes=RECIPE | {"data.flip": False})
    other = error_table(only(tmp_path / "b"))
    assert not any("He et al." in header for header in other.headers)
    assert "He et al." not in other.caption
