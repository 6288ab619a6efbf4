"""Stochastic depth and dropout in a run: the same draws on any devices, in parts, after an interruption."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.equivalence import largest_difference
from resnet_jax.config import override
from resnet_jax.record import read_record
from resnet_jax.training.loop import Interrupted
from resnet_jax.training.run import run
from tests.training.test_accumulation import BASE, after
from tests.training.test_loop import SMALL, stop_after

NOISY = {"model.shortcut": "dropout", "model.survival": 0.3}
GHOSTS = {"model.norm.scope": "ghost", "model.norm.ghost_size": 4}


@pytest.fixture(scope="module")
def whole() -> Any:
    """After three steps on one device, without accumulation."""
    with jax.enable_x64(True):
        return after(override(BASE, NOISY | GHOSTS))


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("mode", "devices", "parts"), [("jit", 4, 2), ("shard_map", 8, 1), ("pmap", 2, 4)], ids=["jit", "shard_map", "pmap"]
)
def test_draws_are_those_of_one_device_in_every_mode_and_in_parts(
    mode: str, devices: int, parts: int, whole: Any
) -> None:
    changes = {"parallel.mode": mode, "parallel.devices": devices, "train.accumulation": parts}
    state, reports = after(override(BASE, NOISY | GHOSTS | changes))
    expected, expected_reports = whole
    assert largest_difference(state.params, expected.params) < 1e-12
    assert largest_difference(state.batch_stats, expected.batch_stats) < 1e-12
    for report, other in zip(reports, expected_reports, strict=True):
        assert report.sums.loss == pytest.approx(other.sums.loss, rel=1e-12)


@pytest.mark.usefixtures("x64")
def test_the_step_draws_and_each_step_anew(whole: Any) -> None:
    # A rate of zero and no draws at all: the first losses differ, so the step did hand over its keys.
    still, reports = after(override(BASE, GHOSTS | {"model.shortcut": "identity"}), steps=1)
    drawn = whole[1][0].sums.loss
    assert abs(drawn - reports[0].sums.loss) > 1e-3
    assert largest_difference(still.params, whole[0].params) > 1e-3


def test_a_run_goes_on_with_the_draws_it_would_have_had(tmp_path: Path) -> None:
    config = override(SMALL, {**NOISY, "train.iterations": 12, "optim.milestones": (8,)})
    record = run(config, tmp_path / "whole", study="test")
    with pytest.raises(Interrupted):
        run(config, tmp_path / "cut", study="test", stop=stop_after(5))
    resumed = run(config, tmp_path / "cut", study="test")
    assert resumed.final_fingerprint == record.final_fingerprint
    assert (tmp_path / "cut" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()
    assert read_record(tmp_path / "cut" / "record.json").final == record.final
    assert np.isfinite(record.final.train_loss)  # type: ignore[union-attr]
