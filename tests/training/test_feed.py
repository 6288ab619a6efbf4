"""Where the images lie changes nothing; a validation set keeps the test set for the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import pytest

from resnet_jax.config import override
from resnet_jax.data import load
from resnet_jax.record import read_metrics
from resnet_jax.training import feed as feed_lib
from resnet_jax.training.feed import FromHost, OnDevice, feed
from resnet_jax.training.loop import run
from resnet_jax.training.parallel import devices
from resnet_jax.training.setup import Setup
from tests.training.test_loop import SMALL

SHORT = override(SMALL, {"train.iterations": 14, "data.pad": 1, "data.flip": True})


def test_host_and_device_give_the_same_run(tmp_path: Path) -> None:
    records = {
        placement: run(override(SHORT, {"data.placement": placement}), tmp_path / placement, study="test")
        for placement in ("device", "host")
    }
    assert records["device"].final == records["host"].final
    lines = [(tmp_path / placement / "metrics.jsonl").read_bytes() for placement in records]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(("memory", "kind"), [(230_000.0, OnDevice), (229_000.0, FromHost)])
def test_auto_keeps_images_on_the_device_up_to_half_of_it(
    memory: float, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 1,797 digits of 64 bytes: 115,008, half of 230,016... and the half of 230,000 is just too little.
    monkeypatch.setattr(feed_lib, "_memory", lambda device: memory + 100)
    chosen = feed(SHORT.data, load(SHORT.data), devices(SHORT.parallel))
    assert isinstance(chosen, kind)
    assert ("on the host" in chosen.place) == (kind is FromHost)


def test_the_memory_of_a_cpu_is_what_the_machine_has_free() -> None:
    assert 1e8 < feed_lib._memory(jax.devices()[0]) < 1e14


def test_with_a_validation_set_the_test_set_is_evaluated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[str] = []
    original: Any = Setup.evaluate

    def noting(self: Setup, state: Any, split: str) -> Any:
        evaluated.append(split)
        return original(self, state, split)

    monkeypatch.setattr(Setup, "evaluate", noting)
    config = override(SHORT, {"data.validation": 200, "train.iterations": 25})
    record = run(config, tmp_path / "run", study="test")
    assert evaluated.count("test") == 1
    assert evaluated[-1] == "train"
    assert evaluated[:2] == ["validation", "validation"]
    assert record.final is not None
    assert (record.final.train_examples, record.final.validation_examples, record.final.test_examples) == (
        1237,
        200,
        360,
    )
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line.test_error is None for line in lines] == [True, True, False]
    assert all(line.validation_error is not None for line in lines)


def test_a_subset_trains_on_that_many(tmp_path: Path) -> None:
    record = run(override(SHORT, {"data.train_subset": 100, "train.iterations": 2}), tmp_path / "run", study="test")
    assert record.data.train_examples == 100
    assert record.final is not None
    assert record.final.train_examples == 100
