"""From a configuration to everything a loop needs: data on the devices, the net, compiled steps, the first state."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.data import Dataset, load, normalization
from resnet_jax.data.batches import Batch, eval_batches
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import build
from resnet_jax.training import optim
from resnet_jax.training import state as state_lib
from resnet_jax.training.metrics import StepReport, Sums, Totals
from resnet_jax.training.parallel import Devices, devices
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import EvalBatch, TrainBatch, eval_step, train_step

Array = jax.Array


class Resident(NamedTuple):
    """All examples on every device: the training set, then the test set."""

    images: Any
    labels: Any


class _TrainIndex(NamedTuple):
    """Which examples a train step takes: [B] int32 each; from the host, or on the devices."""

    epoch: Any
    example: Any


class _EvalIndex(NamedTuple):
    example: Any
    weight: Any


@dataclass
class Setup:
    """A run, ready to be stepped. States are the devices' own: `devices.fetch` brings one to the host."""

    config: ExperimentConfig
    """With the number of classes resolved."""
    dataset: Dataset
    devices: Devices
    initial: TrainState
    """Before the first step, on the host."""
    compile_s: float
    _resident: Resident
    _key: Array
    _train: jax.stages.Compiled
    _eval: jax.stages.Compiled

    def train(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepReport]:
        """Dispatches one train step; `state` is gone after the call. Nothing waits for the device."""
        on_devices = self.devices.shard(_TrainIndex(batch.epoch, batch.index))
        new, report = self._train(state, on_devices, self._resident, self._key)
        return new, report

    def evaluate(self, state: TrainState, split: str) -> Totals:
        """Loss and error on all of a split ("train" or "test"), in eval mode, every example once."""
        size = len(getattr(self.dataset, split))
        offset = np.int32(0 if split == "train" else len(self.dataset.train))
        pending: list[Sums] = []
        for index, weight in eval_batches(size, self.config.train.eval_batch_size):
            on_devices = self.devices.shard(_EvalIndex(index + offset, weight))
            pending.append(self._eval(state, on_devices, self._resident))
        totals = Totals()
        for sums in pending:
            totals.add(self.devices.fetch(sums))
        assert totals.examples == size, f"evaluated {totals.examples} of {size} {split} examples"
        return totals


def resolve(config: ModelConfig, dataset: Dataset) -> ModelConfig:
    """`config` with its number of classes, from the data where it leaves it to them.

    Raises:
      UserError: it names another number than the data have.
    """
    if config.num_classes not in (None, dataset.num_classes):
        raise UserError(
            f"model.num_classes: got {config.num_classes}; legal: {dataset.num_classes}, the classes of "
            f"{dataset.name}, or None to take them from the data."
        )
    return dataclasses.replace(config, num_classes=dataset.num_classes)


def check_machine(config: ExperimentConfig) -> Devices:
    """The devices of a run, once it is sure that this process can run it.

    Raises:
      UserError: more devices than there are, or float64 without JAX's x64 mode.
    """
    if config.model.dtype == "float64" and jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise UserError("model.dtype: got 'float64', which needs JAX's x64 mode: set JAX_ENABLE_X64=1.")
    return devices(config.parallel)


def prepare(config: ExperimentConfig) -> Setup:
    """Loads the data, builds the net, places all on the devices and compiles the steps.

    Raises:
      UserError: data missing or damaged, or what `check_machine` raises.
    """
    where = check_machine(config)
    dataset = load(config.data)
    config = dataclasses.replace(config, model=resolve(config.model, dataset))
    stats = normalization(dataset.train.images, config.data)

    init_key, augment_key = jax.random.split(jax.random.key(config.seed))
    model = build(config.model)
    optimizer = optim.sgd(config.optim)
    initial = jax.device_get(state_lib.create(model, optimizer, init_key, dataset.image_shape))

    scoped = model.clone(stats_scope=where.batch_stats_scope(config.model.norm, config.train.batch_size))

    def train(state: TrainState, at: _TrainIndex, resident: Resident, key: Array) -> tuple[TrainState, StepReport]:
        batch = TrainBatch(resident.images[at.example], resident.labels[at.example], at.epoch, at.example)
        return train_step(
            state,
            batch,
            key,
            model=scoped,
            optimizer=optimizer,
            normalization=stats,
            data=config.data,
            axis_name=where.axis_name,
        )

    def evaluate(state: TrainState, at: _EvalIndex, resident: Resident) -> Sums:
        batch = EvalBatch(resident.images[at.example], resident.labels[at.example], at.weight)
        return eval_step(state, batch, model=model, normalization=stats, axis_name=where.axis_name)

    resident = where.replicate(
        Resident(
            np.concatenate([dataset.train.images, dataset.test.images]),
            np.concatenate([dataset.train.labels, dataset.test.labels]),
        )
    )
    key = where.replicate(augment_key)
    state = where.replicate_state(initial)
    # Compiled ahead of the loop, so a run cannot compile its step twice: a later call of another shape is an error.
    start = time.monotonic()
    zeros = np.zeros(config.train.batch_size, np.int32)
    compiled_train = where.compile(
        train, state, where.shard(_TrainIndex(zeros, zeros)), resident, key, donate_state=True
    )
    zeros = np.zeros(config.train.eval_batch_size, np.int32)
    at = where.shard(_EvalIndex(zeros, zeros.astype(np.float32)))
    compiled_eval = where.compile(evaluate, state, at, resident, donate_state=False)
    return Setup(
        config=config,
        dataset=dataset,
        devices=where,
        initial=initial,
        compile_s=time.monotonic() - start,
        _resident=resident,
        _key=key,
        _train=compiled_train,
        _eval=compiled_eval,
    )
