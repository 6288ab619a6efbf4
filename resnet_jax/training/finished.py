"""A finished run brought back: its net, its data and the state of its last step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from resnet_jax.config import override
from resnet_jax.errors import UserError
from resnet_jax.record import CHECKPOINTS, RECORD_FILE, read_record
from resnet_jax.training.checkpoint import Checkpoints, identity
from resnet_jax.training.setup import Setup, prepare
from resnet_jax.training.state import TrainState


def load_finished(directory: Path, tell: Callable[[str], None] = lambda text: None) -> tuple[Setup, TrainState]:
    """The setup of a finished run, and its last state on the devices.

    Args:
      directory: a run directory with a record and the checkpoint of the last step.
      tell: is told what is worth knowing, a line at a time.

    Raises:
      UserError: the run has not finished, its checkpoint is not there or damaged, or its data are not those it had.
    """
    record = read_record(directory / RECORD_FILE)
    if record.final is None:
        raise UserError(f"{directory}: this run diverged at step {record.diverged_at_step}; it left no net.")
    config = record.config
    if config.model.norm.scope != "device":
        # On one device, whatever it was trained on: BN's groups stay the same.
        config = override(config, {"parallel.mode": "jit", "parallel.devices": 1})
    checkpoints = Checkpoints(directory / CHECKPOINTS, keep=1, run=identity(record.config), tell=tell)
    if record.final.step not in checkpoints.steps():
        raise UserError(
            f"{directory}: holds no checkpoint of its last step, {record.final.step}; a record alone does not hold the "
            f"net. Run it again: delete the directory first."
        )
    setup = prepare(config, tell)
    # Looked at and not touched: the run is not ours.
    restored = checkpoints.restore(setup.initial, setup.dataset.fingerprint, put_aside=False)
    assert restored is not None
    state: TrainState = restored[0]
    if int(state.step) != record.final.step:
        raise UserError(f"{directory}: the checkpoint of its last step, {record.final.step}, is damaged.")
    return setup, setup.put(state)
