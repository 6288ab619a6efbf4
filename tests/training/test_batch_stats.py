"""Recomputed batch statistics against a net written out in NumPy, float64, group by group."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from resnet_jax.config import ExperimentConfig, override
from resnet_jax.data import normalization
from resnet_jax.data.order import epoch_order, training_batches
from resnet_jax.training.batch_stats import averages, recompute
from resnet_jax.training.program import Program, prepare
from resnet_jax.training.run import run
from tests.training.test_loop import SMALL
from tests.training.test_resume import final_state

Array = npt.NDArray[np.float64]


class NumPyNet:
    """ResNet-8 (or plain-8) of basic blocks in train mode; keeps each BN's mean and biased variance."""

    def __init__(self, params: Any, plain: bool) -> None:
        self.params, self.plain = params, plain
        self.statistics: dict[str, tuple[Array, Array]] = {}

    def conv(self, x: Array, kernel: Array, stride: int) -> Array:
        pad = kernel.shape[0] // 2
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        windows = sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))[:, ::stride, ::stride]  # N H W C kh kw
        return np.tensordot(windows, kernel, axes=((3, 4, 5), (2, 0, 1)))

    def norm(self, x: Array, params: Any, name: str) -> Array:
        mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        self.statistics[name] = mean, var
        return params["scale"] * (x - mean) / np.sqrt(var + 1e-5) + params["bias"]

    def __call__(self, x: Array) -> None:
        p = self.params
        x = np.maximum(self.norm(self.conv(x, p["stem_conv"]["kernel"], 1), p["stem_norm"], "stem_norm"), 0.0)
        for name in ("stage1_block1", "stage2_block1", "stage3_block1"):
            b, stride = p[name], 1 if name.startswith("stage1") else 2
            y = np.maximum(self.norm(self.conv(x, b["conv1"]["kernel"], stride), b["norm1"], f"{name}/norm1"), 0.0)
            y = self.norm(self.conv(y, b["conv2"]["kernel"], 1), b["norm2"], f"{name}/norm2")
            shortcut = np.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, y.shape[3] - x.shape[3])))
            x = np.maximum(y if self.plain else y + shortcut, 0.0)


def trained(**changes: Any) -> tuple[Program, Any]:
    config: ExperimentConfig = override(SMALL, {"model.dtype": "float64", **changes})
    program = prepare(config)
    state = program.devices.replicate_state(program.assembly.initial)
    batches = training_batches(seed=0, examples=1437, batch_size=128, first_step=0)
    for _ in range(5):
        state, _ = program.train_on(state, [next(batches)])
    return program, state


@pytest.mark.parametrize(
    ("shortcut", "changes", "group"),
    [
        ("none", {}, 128),
        ("A", {"model.norm.scope": "ghost", "model.norm.ghost_size": 32}, 32),
        pytest.param("A", {}, 128, marks=pytest.mark.slow),
        pytest.param("A", {"model.norm.scope": "device", "parallel.devices": 2}, 64, marks=pytest.mark.slow),
        pytest.param("A", {"train.accumulation": 2}, 64, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("x64")
def test_they_are_the_averages_over_the_training_set(shortcut: str, changes: dict[str, Any], group: int) -> None:
    program, state = trained(**{"model.shortcut": shortcut}, **changes)
    new = program.devices.fetch(recompute(program, state)).batch_stats
    train = program.assembly.dataset.train
    images = train.images / 255.0 - normalization(train, program.assembly.config.data).mean
    order, examples = epoch_order(0, 0, 1437), 1437
    means: dict[str, Array] = {}
    for start in range(0, examples, group):
        index = order[start : start + group]
        net = NumPyNet(program.devices.fetch(state).params, shortcut == "none")
        net(images[index])
        for name, (mean, var) in net.statistics.items():
            means[name] = means.get(name, np.zeros((2, len(mean)))) + len(index) * np.stack([mean, var]) / examples
    assert len(means) == 7
    for name, (mean, var) in means.items():
        block: Any = new
        for part in name.split("/"):
            block = block[part]
        # Relative to the deviation: means cancel, in the stem to zero, since the images have their mean subtracted.
        np.testing.assert_allclose(block["mean"], mean, rtol=0, atol=1e-12 * np.sqrt(var).min())
        np.testing.assert_allclose(block["var"], var, rtol=1e-12)


def test_nothing_else_changes_and_the_order_of_the_images_does_not_matter_to_a_batch_of_all() -> None:
    program, state = trained_in_float32()
    before = program.devices.fetch(state)
    after = program.devices.fetch(recompute(program, state))
    assert all(np.array_equal(a, b) for a, b in zip(_leaves(before.params), _leaves(after.params), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(_leaves(before.opt_state), _leaves(after.opt_state), strict=True))
    assert int(before.step) == int(after.step)
    for a, b in zip(_leaves(before.batch_stats), _leaves(after.batch_stats), strict=True):
        assert a.dtype == b.dtype == np.float32
        assert not np.array_equal(a, b)
    # What they were is of no account.
    again = averages(program, before.params, after.batch_stats)
    assert all(np.array_equal(a, b) for a, b in zip(_leaves(again), _leaves(after.batch_stats), strict=True))


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_scanned_stages_have_the_averages_of_unrolled_ones() -> None:
    config: ExperimentConfig = override(SMALL, {"model.dtype": "float64", "model.depth": 20})
    found = []
    for stages in ("unrolled", "scanned"):
        program = prepare(override(config, {"model.stages": stages}))
        assert program.model.scanned == (stages == "scanned")
        found.append(program.fetch(recompute(program, program.put(program.assembly.initial))).batch_stats)
    unrolled, scanned = found
    assert unrolled.keys() == scanned.keys()
    for a, b in zip(_leaves(unrolled), _leaves(scanned), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11 * np.abs(a).max())


def trained_in_float32() -> tuple[Program, Any]:
    return trained(**{"model.dtype": "float32"})


def _leaves(tree: Any) -> list[Any]:
    import jax

    return jax.tree.leaves(tree)


def test_a_run_that_asks_for_them_is_evaluated_with_them(tmp_path: Any) -> None:
    config = override(SMALL, {"train.recompute_batch_stats": True})
    record = run(config, tmp_path / "run", study="test")
    state = final_state(config, tmp_path / "run")
    program = prepare(config)
    expected = averages(program, state.params, state.batch_stats)
    assert all(np.array_equal(a, b) for a, b in zip(_leaves(expected), _leaves(state.batch_stats), strict=True))
    assert record.final is not None
    on_devices = program.devices.replicate_state(state)
    assert program.evaluate(on_devices, "test").error == record.final.test_error
    assert program.evaluate(on_devices, "train").error == record.final.train_error
