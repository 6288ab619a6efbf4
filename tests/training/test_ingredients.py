"""Everything that is not in the papers, in one run: the same on any devices, in any mode, in parts, and resumed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.equivalence import largest_difference
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.training.loop import Interrupted
from resnet_jax.training.program import prepare
from resnet_jax.training.run import run
from resnet_jax.training.state import AveragedState
from tests.training.test_loop import SMALL, stop_after
from tests.training.test_resume import as_the_whole, final_state

ALL = {
    "data.mixup": 0.4,
    "data.cutmix": 1.0,
    "data.pad": 1,
    "optim.nesterov": True,
    "optim.decayed": "kernels",
    "optim.clip_norm": 0.1,
    "optim.schedule": "cosine",
    "optim.warmup": "linear",
    "optim.warmup_iterations": 0.25,
    "optim.label_smoothing": 0.1,
    "optim.ema": 0.8,
    "train.iterations": 14,
}
MODERN = override(SMALL, ALL)


def state_after(config: ExperimentConfig, steps: int) -> Any:
    program = prepare(config)
    state = program.put(program.assembly.initial)
    for step in range(steps):
        state, _ = program.train(state, range(step, step + 1))
    return program.fetch(state)


GHOST = {"model.dtype": "float64", "model.norm.scope": "ghost", "model.norm.ghost_size": 8}


@pytest.fixture(scope="module")
def reference() -> Iterator[Any]:
    with jax.enable_x64(True):
        yield state_after(override(MODERN, GHOST), 5)


EIGHT = {"parallel.devices": 8}
SHARD_MAP = {"parallel.devices": 8, "parallel.mode": "shard_map"}
PMAP = {"parallel.devices": 2, "parallel.mode": "pmap"}
PARTS = {"parallel.devices": 2, "train.accumulation": 4, "data.placement": "host"}


@pytest.mark.parametrize(
    "changes",
    [PARTS, *(pytest.param(mode, marks=pytest.mark.slow) for mode in (EIGHT, SHARD_MAP, PMAP))],
    ids=["2 devices, 4 parts, from the host", "8 devices", "8 devices, shard_map", "2 devices, pmap"],
)
@pytest.mark.usefixtures("x64")
def test_devices_and_parts_change_nothing(reference: Any, changes: dict[str, Any]) -> None:
    found = state_after(override(MODERN, {**GHOST, **changes}), 5)
    assert isinstance(found, AveragedState)
    assert largest_difference(found.params, reference.params) < 1e-11
    assert largest_difference(found.average, reference.average) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data.mixup", "data.cutmix", "optim.label_smoothing", "optim.clip_norm"])
@pytest.mark.usefixtures("x64")
def test_each_changes_the_net(reference: Any, name: str) -> None:
    """So that no test here would pass without it."""
    without = override(MODERN, {**GHOST, name: MODERN.default(name)})
    assert largest_difference(state_after(without, 5).params, reference.params) > 1e-6


SCANNED = {"model.stages": "scanned", "model.depth": 20, "train.steps_per_dispatch": 3}


@pytest.mark.parametrize("changes", [{}, pytest.param(SCANNED, marks=pytest.mark.slow)], ids=["", "scanned"])
def test_a_run_goes_on_to_the_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = override(MODERN, changes)
    run(config, tmp_path / "whole", study="test")
    with pytest.raises(Interrupted):
        run(config, tmp_path / "run", study="test", stop=stop_after(3))
    run(config, tmp_path / "run", study="test")
    as_the_whole(tmp_path / "run", tmp_path / "whole")
    ours, theirs = (final_state(config, tmp_path / name) for name in ("run", "whole"))
    leaves = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in leaves)
