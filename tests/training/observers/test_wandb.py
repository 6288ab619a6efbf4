"""An offline run of Weights & Biases holds a run's numbers."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from resnet_jax.config import override, to_dict
from resnet_jax.record import read_metrics
from resnet_jax.training.loop import Interrupted
from resnet_jax.training.observers import open_sinks
from resnet_jax.training.run import run
from tests.training.test_loop import SMALL, stop_after

wandb = pytest.importorskip("wandb")
from wandb.proto import wandb_internal_pb2  # noqa: E402

FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(file: Path) -> list[Any]:
    """The records of a .wandb file: protocol buffers in LevelDB's log format, after a header of 7 bytes."""
    data, at, found, parts = file.read_bytes(), 7, [], b""
    while at + 7 <= len(data):
        if (left := 32_768 - at % 32_768) < 7:  # a block's rest that is too short for a header
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts = data[at + 7 : at + 7 + length] if kind in (FULL, FIRST) else parts + data[at + 7 : at + 7 + length]
        if kind in (FULL, LAST):
            found.append(wandb_internal_pb2.Record.FromString(parts))
        at += 7 + length
    return found


def history(found: list[Any]) -> dict[int, dict[str, float]]:
    lines = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in found
        if record.WhichOneof("record_type") == "history"
    ]
    return {int(line["_step"]): line for line in lines}


def test_an_interrupted_run_is_one_run_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    config, place = override(SMALL, {"model.width": 1}), tmp_path / "resnet-8-seed0"
    sinks = open_sinks(["wandb"], place, "depth", config, pytest.fail)
    with pytest.raises(Interrupted):
        run(config, place, study="depth", observers=sinks, stop=stop_after(15))
    sinks = open_sinks(["wandb"], place, "depth", config, pytest.fail)
    run(config, place, study="depth", observers=sinks)
    wandb.teardown()  # waits for its own process, which writes the files
    sessions = [records(file) for file in sorted(place.glob("wandb/offline-run-*/*.wandb"))]
    assert len(sessions) == 2
    described = [record.run for found in sessions for record in found if record.WhichOneof("record_type") == "run"]
    assert {(each.project, each.display_name) for each in described} == {("depth", "resnet-8-seed0")}
    assert len({each.run_id for each in described}) == 1
    configured = {item.key: json.loads(item.value_json) for item in described[0].config.update}
    assert configured["model"]["depth"] == to_dict(config)["model"]["depth"]
    first, second = map(history, sessions)
    assert sorted(first) == [10, 12]
    assert sorted(second) == [20, 23, 30]
    lines = read_metrics(place / "metrics.jsonl")
    for line in lines:
        assert (first | second)[line.step]["test/error"] == pytest.approx(line.test_error)
    assert second[30]["train/learning_rate"] == pytest.approx(0.001)
    assert second[30]["train/images_per_second"] > 0
