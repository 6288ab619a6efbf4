"""Evaluation counts every example once, by its position; a step's memory is what it says."""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies import experiments
from resnet_jax.config import ExperimentConfig, ModelConfig, override
from resnet_jax.data import Dataset
from resnet_jax.data.dataset import ArraySource
from resnet_jax.data.order import eval_batches
from resnet_jax.models import cost
from resnet_jax.models.layers import BatchStatsScope
from resnet_jax.training import assemble as assemble_lib, program as program_lib
from resnet_jax.training.metrics import Miscounted
from resnet_jax.training.program import Program, prepare
from resnet_jax.training.run import table

BASE = experiments()["digits-resnet"]
CLASSES = 3


class Tiny(nn.Module):
    """In the place of a net, which would take minutes to compile so often: the pixels times a matrix."""

    config: ModelConfig
    stats_scope: BatchStatsScope = BatchStatsScope()
    scanned: bool = False
    frozen_stages: int = 0

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        self.variable("batch_stats", "mean", jnp.zeros, (1,), jnp.float32)
        logits: jax.Array = nn.Dense(CLASSES, use_bias=False, name="head")(images.reshape(images.shape[0], -1))
        return logits


def split(size: int) -> ArraySource:
    rng = np.random.default_rng(size)
    images = rng.integers(0, 256, (size, 2, 2, 1), np.uint8)
    return ArraySource(images, rng.integers(0, CLASSES, size, np.int32))


def tiny(monkeypatch: pytest.MonkeyPatch, size: int, changes: dict[str, Any]) -> Program:
    """A run of the stand-in on `size` test images, all else as it is."""
    monkeypatch.setattr(assemble_lib, "build", Tiny)
    dataset = Dataset("random", split(16), split(size), tuple("abc"))
    return prepare(override(BASE, {"train.batch_size": 24, **changes}), dataset=dataset)


def by_hand(program: Program) -> tuple[int, float]:
    """Errors on the test set and the sum of losses, by NumPy."""
    images, labels = program.assembly.dataset.test.images, program.assembly.dataset.test.labels
    x = images / 255.0 - program.assembly.dataset.train.images.mean(axis=0) / 255.0
    logits = x.reshape(len(x), -1) @ np.asarray(program.assembly.initial.params["head"]["kernel"], np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(x)), labels]
    return int((logits.argmax(axis=1) != labels).sum()), float(losses.sum())


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize("size", [1, 7, 359, 10_000])
def test_evaluation_equals_numpys_count_for_any_batch(size: int, devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A batch of one image is 10,000 steps; once will do.
    for batch in (1, 128, size + 5) if size < 10_000 or devices == 3 else (128, size + 5):
        program = tiny(monkeypatch, size, {"train.eval_batch_size": batch, "parallel.devices": devices})
        totals = program.evaluate(program.devices.replicate_state(program.assembly.initial), "test")
        errors, loss = by_hand(program)
        assert (totals.examples, totals.errors) == (size, errors), batch
        assert totals.loss == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("mode", ["jit", "shard_map", "pmap"])
@pytest.mark.parametrize("placement", ["device", "host"])
def test_evaluation_counts_alike_in_every_mode(mode: str, placement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"train.eval_batch_size": 5, "parallel.devices": 3}
    program = tiny(monkeypatch, 23, {**changes, "parallel.mode": mode, "data.placement": placement})
    totals = program.evaluate(program.devices.replicate_state(program.assembly.initial), "test")
    assert (totals.examples, totals.errors) == (23, by_hand(program)[0])


def test_a_batch_that_was_tampered_with_fails_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    program = tiny(monkeypatch, 23, {"train.eval_batch_size": 5, "parallel.devices": 3})
    state = program.devices.replicate_state(program.assembly.initial)

    def doubled(examples: int, *sizes: int) -> Iterator[Any]:
        """Example 7 in the place of example 8."""
        for index, weight in eval_batches(examples, *sizes):
            yield np.where(index == 8, 7, index).astype(np.int32), weight

    def dropped(examples: int, *sizes: int) -> Iterator[Any]:
        """Example 8 with weight 0."""
        for index, weight in eval_batches(examples, *sizes):
            yield index, np.where(index == 8, 0, weight).astype(np.float32)

    monkeypatch.setattr(program_lib, "eval_batches", doubled)
    with pytest.raises(Miscounted, match=r"2 of 23 examples .* the first is example 7, counted 2 times\."):
        program.evaluate(state, "test")
    monkeypatch.setattr(program_lib, "eval_batches", dropped)
    with pytest.raises(Miscounted, match=r"1 of 23 examples .* the first is example 8, counted 0 times\."):
        program.evaluate(state, "test")
    monkeypatch.setattr(program_lib, "eval_batches", eval_batches)
    original = program._feed.evaluate
    monkeypatch.setattr(
        program._feed, "evaluate", lambda split, index, weight: original(split, index, np.ones_like(weight))
    )
    with pytest.raises(Miscounted, match=r"the devices counted 30 examples in an evaluation of 23\."):
        program.evaluate(state, "test")


# --- memory -------------------------------------------------------------------------------------------------------

# What the formula leaves out of the compiler's figure: copies in other layouts, BN's centred input, scratch space.
FACTOR = 2.0


@pytest.mark.slow
def test_remat_saves_memory_and_the_estimate_is_near_the_compilers_figure() -> None:
    deep: ExperimentConfig = override(BASE, {"model.depth": 20, "train.batch_size": 256})
    found = {}
    for remat in (False, True):
        program = prepare(override(deep, {"model.remat": remat}))
        memory = program.memory()
        assert memory is not None
        arguments, temporaries = memory
        images = program._feed.fixed[0].images.nbytes
        estimate = cost.memory(program.assembly.config, program.assembly.dataset.image_shape)
        assert 1 / FACTOR < estimate.total / (arguments - images + temporaries) < FACTOR, remat
        found[remat] = temporaries
    assert found[True] < 0.5 * found[False]


def test_the_table_says_where_and_how_a_run_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {
        "train.batch_size": 96,
        "train.accumulation": 2,
        "parallel.devices": 3,
        "parallel.mode": "shard_map",
        "model.norm.scope": "ghost",
        "model.norm.ghost_size": 8,
    }
    lines = table(tiny(monkeypatch, 7, changes)).splitlines()
    assert lines == [
        "  platform     cpu",
        "  devices      3, shard_map; 5 more that are visible here are idle",
        "  batch        96 images a step, 32 on each device, in 2 parts of 16",
        "  batch norm   ghost, over 8 images",
        "  rate         0.05, times 0.1 after 120 and 180 of 240 steps",
        "  computes in  float32, parameters and statistics in float32",
        "  precision    default, products in float32",
    ]
    assert all(len(line) <= 80 for line in lines)
