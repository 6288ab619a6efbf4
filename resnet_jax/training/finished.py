"""A finished run brought back: its net, its data and the state of its last step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from resnet_jax.config import override
from resnet_jax.data import Dataset, load
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import build
from resnet_jax.record import CHECKPOINTS, RECORD_FILE, RunRecord, read_record
from resnet_jax.training import optim
from resnet_jax.training import state as state_lib
from resnet_jax.training.checkpoint import Checkpoints, identity, steps_in
from resnet_jax.training.setup import Setup, check_machine, prepare, resolve
from resnet_jax.training.state import TrainState


def load_finished(directory: Path, tell: Callable[[str], None] = lambda text: None) -> tuple[Setup, TrainState]:
    """The setup of a finished run, and its last state on the devices.

    Args:
      directory: a run directory with a record and the checkpoint of the last step.
      tell: is told what is worth knowing, a line at a time.

    Raises:
      UserError: the run has not finished, its checkpoint is not there or damaged, or its data are not those it had.
    """
    record = finished_record(directory)
    config = record.config
    if config.model.norm.scope != "device":
        # On one device, whatever it was trained on: BN's groups stay the same.
        config = override(config, {"parallel.mode": "jit", "parallel.devices": 1})
    setup = prepare(config, tell)
    state = _last_state(directory, record, setup.initial, setup.dataset, tell)
    return setup, setup.put(state)


def load_net(
    directory: Path,
    tell: Callable[[str], None] = lambda text: None,
    load_data: Callable[..., Dataset] = load,
) -> tuple[RunRecord, Dataset, TrainState]:
    """A finished run's record, data and last state, on the host, block by block; compiles nothing.

    Args:
      directory: as for `load_finished`, which raises the same.
      tell: is told what is worth knowing, a line at a time.
      load_data: of a DataConfig and `tell`, in the place of `data.load`; for one that remembers.
    """
    record = finished_record(directory)
    config = record.config
    check_machine(override(config, {"parallel.devices": 1}) if config.model.norm.scope != "device" else config)
    dataset = load_data(config.data, tell)
    model = build(dataclasses.replace(resolve(config.model, dataset), stages="unrolled", remat=False))
    shapes = jax.eval_shape(
        lambda: state_lib.create(model, optim.sgd(config.optim), jax.random.key(0), dataset.image_shape)
    )
    like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return record, dataset, _last_state(directory, record, like, dataset, tell)


def finished_record(directory: Path) -> RunRecord:
    """The record of a run that has finished, and has the checkpoint of its last step.

    Raises:
      UserError: it has not.
    """
    record = read_record(directory / RECORD_FILE)
    if record.final is None:
        raise UserError(f"{directory}: this run diverged at step {record.diverged_at_step}; it left no net.")
    if record.final.step not in steps_in(directory / CHECKPOINTS):
        raise UserError(
            f"{directory}: holds no checkpoint of its last step, {record.final.step}; a record alone does not hold the "
            f"net. Run it again: delete the directory first."
        )
    return record


def _last_state(
    directory: Path, record: RunRecord, like: Any, dataset: Dataset, tell: Callable[[str], None]
) -> TrainState:
    checkpoints = Checkpoints(directory / CHECKPOINTS, keep=1, run=identity(record.config), tell=tell)
    # Looked at and not touched: the run is not ours.
    restored = checkpoints.restore(like, dataset.fingerprint, put_aside=False)
    checkpoints.close()
    assert restored is not None
    assert record.final is not None
    state: TrainState = restored[0]
    if int(state.step) != record.final.step:
        raise UserError(f"{directory}: the checkpoint of its last step, {record.final.step}, is damaged.")
    return state
