"""Gradient norms recorded along training: what they are, that they cost nothing when off, and that they survive."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.config import override
from resnet_jax.errors import UserError
from resnet_jax.record import read_gradients
from resnet_jax.training.gradients import by_layer
from resnet_jax.training.loop import Interrupted
from resnet_jax.training.program import prepare
from resnet_jax.training.run import run
from tests.training.test_loop import SMALL, stop_after

RECORDING = override(SMALL, {"train.gradient_norms_every": 4})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train.accumulation": 2, "parallel.mode": "shard_map", "parallel.devices": 2},
        {"model.depth": 20, "model.stages": "scanned"},
    ],
    ids=["whole", "in parts on two devices", "scanned"],
)
@pytest.mark.usefixtures("x64")
def test_they_are_the_norms_of_what_a_step_subtracts(changes: dict[str, Any]) -> None:
    plain_sgd = {"optim.momentum": 0.0, "optim.weight_decay": 0.0, "optim.learning_rate": 0.5, "model.dtype": "float64"}
    program = prepare(override(RECORDING, {**plain_sgd, **changes}))
    state, report = program.train(program.put(program.assembly.initial), range(1))
    host = program.devices.fetch(report)
    found = by_layer(
        program.from_layout(host.gradient_norms), program.assembly.config.model, program.assembly.dataset.image_shape
    )
    moved = jax.tree.map(lambda a, b: (a - b) / 0.5, program.assembly.initial.params, program.fetch(state).params)
    expected = {
        "/".join(key.key for key in path[:-1]): float(np.sqrt(np.square(leaf).sum()))
        for path, leaf in jax.tree_util.tree_leaves_with_path(moved)
        if path[-1].key == "kernel"
    }
    assert found == pytest.approx(expected, rel=1e-9)
    assert list(found)[:3] == ["stem_conv", "stage1_block1/conv1", "stage1_block1/conv2"]
    assert list(found)[-1] == "head"


def test_off_a_step_has_nothing_of_them() -> None:
    program = prepare(SMALL)
    _, report = program.train(program.put(program.assembly.initial), range(1))
    assert report.gradient_norms is None
    assert len(jax.tree.leaves(report)) == 4


def test_an_interrupted_run_leaves_the_same_lines_to_the_bit(tmp_path: Path) -> None:
    run(RECORDING, tmp_path / "whole", study="test")
    whole = tmp_path / "whole" / "gradients.jsonl"
    lines = read_gradients(whole)
    assert [line.step for line in lines] == list(range(0, 30, 4))
    for steps in (3, 10):
        with pytest.raises(Interrupted):
            run(RECORDING, tmp_path / "run", study="test", stop=stop_after(steps))
    ours = tmp_path / "run" / "gradients.jsonl"
    assert [line.step for line in read_gradients(ours)] == [0, 4, 8, 12]
    # As after a kill: lines of steps after the checkpoint, and one that is cut short.
    ours.write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:6]) + b'{"step": 24, "no')
    run(RECORDING, tmp_path / "run", study="test")
    assert ours.read_bytes() == whole.read_bytes()


def test_a_line_that_is_gone_is_missed(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(RECORDING, tmp_path / "run", study="test", stop=stop_after(6))
    (tmp_path / "run" / "gradients.jsonl").unlink()
    with pytest.raises(UserError, match=r"gradients\.jsonl: the line of step 0 is missing"):
        run(RECORDING, tmp_path / "run", study="test")
