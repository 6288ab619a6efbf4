"""Restores a finished run: its data, net and last state and, if needed, its compiled steps."""

from collections.abc import Callable
from pathlib import Path

from resnet_jax.config import DataConfig, ExperimentConfig, override
from resnet_jax.data import Dataset, load
from resnet_jax.errors import UserError
from resnet_jax.record import CHECKPOINTS, RECORD_FILE, RunRecord, read_record
from resnet_jax.text import Note
from resnet_jax.training.assemble import Assembly, assemble
from resnet_jax.training.checkpoints import Checkpoints, identity, steps_in
from resnet_jax.training.mesh import check_machine
from resnet_jax.training.program import Program
from resnet_jax.training.state import TrainState


def load_finished(directory: Path, note: Note = lambda text: None) -> tuple[Program, TrainState]:
    """The compiled program of a finished run, and its last state on the devices.

    Args:
      directory: a run directory with a record and the checkpoint of the last step.
      note: called with each remark about the data, one line of text.

    Raises:
      UserError: the run has not finished, its checkpoint is missing or damaged, or its data have changed.
    """
    assembly, state = restore(directory, note)
    program = Program(assembly, check_machine(assembly.config))
    return program, program.put(state)


def restore(
    directory: Path,
    note: Note = lambda text: None,
    load_data: Callable[[DataConfig, Note], Dataset] = load,
) -> tuple[Assembly, TrainState]:
    """The data, net and optimizer of a finished run, and its last state on the host. Compiles nothing.

    Arguments and errors are those of `load_finished`. In addition, `load_data` is the function that loads the data; it
    may keep loaded data sets for later calls. The state has one subtree of variables for each block.
    """
    record = finished_record(directory)
    config = _on_one_device(record.config)
    check_machine(config)
    assembly = assemble(config, note, dataset=load_data(config.data, note), starting=False)
    return assembly, _last_state(directory, record, assembly, note)


def _on_one_device(config: ExperimentConfig) -> ExperimentConfig:
    """Changes a configuration to one device, unless batch statistics depend on the number of devices."""
    if config.model.norm.scope == "device":
        return config
    return override(config, {"parallel.mode": "jit", "parallel.devices": 1})


def finished_record(directory: Path) -> RunRecord:
    """Reads the record of a finished run, and checks that the checkpoint of its last step exists.

    Raises:
      UserError: the run has not finished or has diverged, or the checkpoint is missing.
    """
    record = read_record(directory / RECORD_FILE)
    if record.final is None:
        raise UserError(f"{directory}: this run diverged at step {record.diverged_at_step}, so it has no net.")
    if record.final.step not in steps_in(directory / CHECKPOINTS):
        raise UserError(
            f"{directory}: the checkpoint of the last step, {record.final.step}, is missing, so the net is "
            f"lost; delete the directory and run again."
        )
    return record


def _last_state(directory: Path, record: RunRecord, assembly: Assembly, note: Note) -> TrainState:
    checkpoints = Checkpoints(directory / CHECKPOINTS, keep=1, run=identity(record.config), note=note)
    # Read-only: the run may be somebody else's, so damaged checkpoints are not renamed.
    restored = checkpoints.restore(assembly.blank, assembly.dataset.fingerprint, rename_damaged=False)
    checkpoints.close()
    assert restored is not None
    assert record.final is not None
    state: TrainState = restored[0]
    if int(state.step) != record.final.step:
        raise UserError(f"{directory}: the checkpoint of its last step, {record.final.step}, is damaged.")
    return state
