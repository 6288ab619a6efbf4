"""A batch in parts is the whole batch with ghost groups, and what is documented with shared statistics."""

import dataclasses
import re
from itertools import islice
from typing import Any

import jax
import numpy as np
import pytest

from experiments.equivalence import largest_difference
from experiments.studies import experiments
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.data import load, normalization
from resnet_jax.data.augment import augment
from resnet_jax.data.order import training_batches
from resnet_jax.models.resnet import build
from resnet_jax.training import optim
from resnet_jax.training.assemble import run_keys
from resnet_jax.training.losses import cross_entropy
from resnet_jax.training.metrics import StepReport
from resnet_jax.training.program import prepare
from resnet_jax.training.state import TrainState, create
from resnet_jax.training.step import Parts, TrainBatch, train_step

STEPS = 3
BASE = override(
    experiments()["digits-resnet"],
    {
        "model.depth": 8,
        "model.width": 2,
        "model.dtype": "float64",
        "data.pad": 1,
        "data.flip": True,
        "train.batch_size": 32,
        "train.eval_batch_size": 8,
        # The rate depends on the error of the whole batch.
        "optim.warmup": "error",
        "optim.warmup_error": 0.88,
        "optim.warmup_smoothing": 0.0,
    },
)


def after(config: ExperimentConfig, steps: int = STEPS) -> tuple[TrainState, list[StepReport]]:
    """State and reports of the first steps of a run, on the host."""
    program = prepare(config)
    state, reports = program.devices.replicate_state(program.assembly.initial), []
    examples = len(program.assembly.dataset.train)
    batches = training_batches(seed=0, examples=examples, batch_size=config.train.batch_size, first_step=0)
    for batch in islice(batches, steps):
        state, report = program.train_on(state, [batch])
        reports.append(program.devices.fetch(report))
    return program.devices.fetch(state), reports


@pytest.fixture(scope="module")
def whole() -> tuple[TrainState, list[StepReport]]:
    """Without accumulation, on one device."""
    with jax.enable_x64(True):
        return after(override(BASE, {"model.norm.scope": "ghost", "model.norm.ghost_size": 4}))


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("parts", "mode", "devices"),
    [
        (2, "jit", 1),
        (4, "jit", 2),
        (2, "shard_map", 2),
        (4, "pmap", 2),
    ],
)
def test_ghost_groups_in_parts_are_the_whole_batch(
    parts: int, mode: str, devices: int, whole: tuple[TrainState, list[StepReport]]
) -> None:
    changes = {"model.norm.scope": "ghost", "model.norm.ghost_size": 4, "train.accumulation": parts}
    state, reports = after(override(BASE, {**changes, "parallel.mode": mode, "parallel.devices": devices}))
    expected, expected_reports = whole
    assert largest_difference(state.params, expected.params) < 1e-12
    assert largest_difference(state.batch_stats, expected.batch_stats) < 1e-12
    for report, other in zip(reports, expected_reports, strict=True):
        assert report.sums.loss == pytest.approx(other.sums.loss, rel=1e-12)
        assert (report.sums.errors, report.sums.examples, report.rate) == (other.sums.errors, 32.0, other.rate)
    # The warm-up saw errors on both sides of its threshold, so the whole batch's error did decide.
    assert len({float(report.rate) for report in reports}) == 2


@pytest.mark.usefixtures("x64")
def test_global_statistics_in_parts_are_those_of_each_part() -> None:
    """By the documented formula: gradients and running statistics averaged over halves, each normalised by itself."""
    step, state, batch, key, model, stats = pieces(BASE)
    new, report = jax.jit(step(Parts(2, shards=2)))(state, batch, key)
    # Two shards of 16 images; the first half is the first half of each.
    halves = [np.array([*range(8), *range(16, 24)]), np.array([*range(8, 16), *range(24, 32)])]

    def loss_of(params: Any, half: Any) -> Any:
        part = TrainBatch(*(x[half] for x in batch))
        images = augment(
            part.images.astype(float) / 255.0 - stats.mean, key, part.epoch, part.example, pad=1, flip=True
        )
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        losses = cross_entropy(logits, part.labels)
        wrong = (jax.lax.argmax(logits, 1, np.int32) != part.labels).sum()
        return losses.mean(), (updated["batch_stats"], losses.sum(), wrong)

    outcomes = [jax.jit(jax.grad(loss_of, has_aux=True))(state.params, half) for half in halves]
    mean = lambda *leaves: sum(leaves) / 2  # noqa: E731
    grads = jax.tree.map(mean, *(grads for grads, _ in outcomes))
    batch_stats = jax.tree.map(mean, *(aux[0] for _, aux in outcomes))
    # The first step from rest: w - rate * (g + decay * w).
    rate, decay = float(report.rate), BASE.optim.weight_decay
    params = jax.tree.map(lambda w, g: w - rate * (g + decay * w), state.params, grads)
    assert largest_difference(new.params, params) < 1e-12
    assert largest_difference(new.batch_stats, batch_stats) < 1e-12
    assert report.sums.loss == pytest.approx(sum(float(aux[1]) for _, aux in outcomes), rel=1e-12)
    assert (int(report.sums.errors), int(report.sums.examples)) == (sum(int(aux[2]) for _, aux in outcomes), 32)
    # And it is not the whole batch's step: where the two differ is documented, not hidden.
    other, _ = jax.jit(step(Parts()))(state, batch, key)
    assert largest_difference(new.params, other.params) > 1e-6


@pytest.mark.usefixtures("x64")
def test_one_part_is_no_loop_of_one() -> None:
    step, state, batch, key, *_ = pieces(BASE)
    names = [
        {e.primitive.name for e in jax.make_jaxpr(step(parts))(state, batch, key).jaxpr.eqns}
        for parts in (Parts(), Parts(1, 2), Parts(4, 1))
    ]
    assert ["scan" in seen for seen in names] == [False, False, True]


def test_parts_take_turns() -> None:
    """Activations of one part at a time: memory falls with the number of parts, and no image leaves its device."""
    memory = {}
    for parts in (1, 2):
        # Without augmentation, whose random draws are loops of their own.
        changes = {"model.dtype": "float32", "model.width": 8, "data.pad": 0, "data.flip": False}
        config = override(BASE, {**changes, "parallel.devices": 2})
        config = override(config, {"train.batch_size": 256, "train.accumulation": parts})
        compiled = prepare(config)._train[1]
        text = compiled.as_text()
        assert not re.search(r" (all-gather|all-to-all|collective-permute)[-(]", text)
        assert re.search(r" all-reduce[-(]", text)
        memory[parts] = compiled.memory_analysis().temp_size_in_bytes
    assert memory[2] < 0.65 * memory[1]


def pieces(config: ExperimentConfig) -> tuple[Any, ...]:
    """A train step that takes its parts, with a state, a batch and a key for it, on one device."""
    dataset = load(config.data)
    model = build(dataclasses.replace(config.model, num_classes=dataset.num_classes))
    optimizer, stats = optim.sgd(config.in_iterations().optim), normalization(dataset.train, config.data)
    initial, key = run_keys(0)
    state = create(model, optimizer, initial, dataset.image_shape)
    at = next(training_batches(seed=0, examples=1437, batch_size=config.train.batch_size, first_step=0))
    batch = TrainBatch(dataset.train.images[at.index], dataset.train.labels[at.index], at.epoch, at.index)

    def step(parts: Parts) -> Any:
        return lambda state, batch, key: train_step(
            state,
            batch,
            key,
            model=model,
            optimizer=optimizer,
            normalization=stats,
            data=config.data,
            parts=parts,
        )

    return step, state, jax.tree.map(jax.numpy.asarray, batch), key, model, stats
