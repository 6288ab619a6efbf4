"""`run(config, directory)`: trains a net and writes its record; a run may be interrupted and resumed."""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.record import CHECKPOINTS, RECORD_FILE, RunRecord, record_from, record_to_json
from resnet_jax.training import processes
from resnet_jax.training.checkpoints import Checkpoints, identity
from resnet_jax.training.launchers import hint
from resnet_jax.training.loop import Trainer
from resnet_jax.training.mesh import check_machine
from resnet_jax.training.observers.base import Observer
from resnet_jax.training.program import Program, prepare
from resnet_jax.training.recorder import Recorder, Spectator
from resnet_jax.training.run_directory import Busy, RunDirectory
from resnet_jax.training.schedules import schedule_rows
from resnet_jax.training.state import count_parameters

COLUMNS = 80  # width of the table


def run(
    config: ExperimentConfig,
    directory: Path,
    *,
    study: str,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> RunRecord:
    """Trains the net of `config` and writes a record to `directory`; resumes an interrupted run.

    Args:
      config: the configuration of the run.
      directory: the run directory; its last part is the name of the run. If it holds a finished run, its record is
        returned and nothing is trained.
      study: the name of the study that the run belongs to, for the record.
      observers: receive the progress of the run. They are closed before this function returns or raises.
      stop: called after every dispatch of steps. When it returns True, a checkpoint is written and Interrupted is
        raised.

    Raises:
      UserError: a value in `config` has no effect.
      UserError: the directory has a run of another configuration, or another process uses the directory.
      UserError: the data are missing, or there are too few devices.
      OSError: the directory cannot be written.
      Interrupted: `stop` returned True.
    """
    try:
        config.require_effect()
        config = config.in_iterations()  # the record shall have the iterations at which the rate drops
        if not processes.on_primary((directory / RECORD_FILE).exists):
            check_machine(config)  # before the directory is made, so that a wrong value leaves no directory behind
        processes.restart_agreement()
        claimed, found = _claim(directory, config)
        if claimed is None:
            return found or _train(None, config, directory, study, (), stop)
        with claimed:
            return found or _train(claimed, config, directory, study, observers, stop)
    finally:
        for observer in observers:
            observer.close()


def _claim(path: Path, config: ExperimentConfig) -> tuple[RunDirectory | None, RunRecord | None]:
    """Locks the directory in process 0. Returns it (None in other processes) and the record (None if not finished)."""
    claimed: RunDirectory | None = None

    def claim() -> dict[str, Any]:
        nonlocal claimed
        try:
            claimed = RunDirectory(path, config)
        except Busy as error:
            return {"busy": f"{error}{hint(os.environ)}" if processes.count() == 1 else str(error)}
        try:
            record = claimed.record()
        except BaseException:
            claimed.release()
            raise
        return {"record": json.loads(record_to_json(record)) if record else None}

    found = processes.on_primary(claim)
    if "busy" in found:
        raise Busy(found["busy"])
    return claimed, found["record"] and record_from(found["record"], path / RECORD_FILE)


def _train(
    directory: RunDirectory | None,
    config: ExperimentConfig,
    path: Path,
    study: str,
    observers: Sequence[Observer],
    stop: Callable[[], bool],
) -> RunRecord:
    def note(text: str) -> None:
        for observer in observers:
            observer.note(text)

    def phase(name: str) -> None:
        for observer in observers:
            observer.phase(name)

    started = time.monotonic()
    try:
        program = prepare(config, note, phase=phase)
        start = program.assembly.pretrained
        _ = program.assembly.initial  # its errors must be raised before the run directory is marked as begun
    except BaseException:  # also an interruption, because nothing has been trained
        if directory is not None:
            directory.abandon()
        raise
    if directory is not None:
        directory.begin()
    note(headline(program))
    note(table(program))
    checkpoints = Checkpoints(
        path / CHECKPOINTS,
        keep=config.train.keep_checkpoints,
        keep_every=config.train.keep_every,
        # The digest is included because the file of weights may have changed under the same name.
        run=identity(config) | ({"finetune.digest": start.facts.digest} if start else {}),
        note=note,
    )
    try:
        recorder = Recorder(directory, study, program.assembly, program.devices) if directory else Spectator(path)
        record = Trainer(program, recorder, checkpoints, observers, name=path.name, stop=stop).go(started)
    finally:
        checkpoints.close()
    if processes.count() == 1:
        assert record is not None
        return record
    written: Any = processes.on_primary(lambda: json.loads(record_to_json(record)) if record else None)
    return record_from(written, path / RECORD_FILE)


def headline(program: Program) -> str:
    """One line about the net and the data of a run."""
    model, dataset = program.assembly.config.model, program.assembly.dataset
    parameters = count_parameters(program.assembly.initial.params)
    name = dataset.name.split(",")[0]  # without the numbers of images, which are in this line already
    return (
        f"{model.net}-{model.depth}, {parameters:,} parameters; {len(dataset.train):,} training and "
        f"{len(dataset.test):,} test images of {name} {program.place}"
    )


def table(program: Program) -> str:
    """A table of the devices and settings of a run, as text of at most 80 columns."""
    c, where, start = program.assembly.config, program.devices, program.assembly.pretrained
    parts, share = c.train.accumulation, c.train.batch_size // where.count
    batch = f"{c.train.batch_size} images a step, {share} on each device"
    if parts > 1:
        batch += f", in {parts} parts of {share // parts}"
    dtype, count = c.model.dtype, processes.count()
    shares = f"{count}, started by {processes.launched_by()}; {c.train.batch_size // count} rows of a batch each"
    joined = {"processes": shares} if count > 1 else {}
    idle = f"; {where.idle} more that are visible here are idle" if where.idle else ""
    rows = {
        "platform": ", ".join(dict.fromkeys((where.first.platform, where.first.device_kind))),  # a CPU has one name
        **joined,
        "devices": f"{where.count}, {where.mode}{idle}",
        "batch": batch,
        "batch norm": f"{c.model.norm.scope}, over {c.norm_batch} images",
        **schedule_rows(c.optim, c.train.iterations),
        "computes in": f"{dtype}, parameters and statistics in {'float64' if dtype == 'float64' else 'float32'}",
        "precision": products(c.model, where.first.platform),
    }
    if program.steps_per_dispatch > 1:
        rows["dispatches"] = f"up to {program.steps_per_dispatch} steps in each dispatch"
    if start is not None:
        frozen = c.finetune.frozen_stages
        kept = f", frozen up to stage {frozen}" if frozen else ""
        rows["starts from"] = f"{start.facts.file} ({start.facts.digest}){kept}"
    return "\n".join(f"  {name:11}  {value}"[:COLUMNS] for name, value in rows.items())


def products(config: ModelConfig, platform: str) -> str:
    """One phrase about the precision of matrix products on a platform: "cpu", "gpu" or "tpu"."""
    chosen, dtype = config.precision, config.dtype
    if dtype != "float32" or platform == "cpu" or chosen == "highest":
        return f"{chosen}, products in {dtype}"
    if platform == "tpu":
        return f"{chosen}, products in {'bfloat16' if chosen == 'default' else 'three passes of bfloat16'}"
    return f"{chosen}, products in TF32 where the device has it"
