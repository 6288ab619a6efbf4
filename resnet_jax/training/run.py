"""`run(config, directory)`: from a configuration to a record, through any number of interruptions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.record import RECORD_FILE, RunRecord
from resnet_jax.training.checkpoints import Checkpoints, identity
from resnet_jax.training.loop import Trainer
from resnet_jax.training.mesh import check_machine
from resnet_jax.training.observers.base import Observer
from resnet_jax.training.program import Program, prepare
from resnet_jax.training.recorder import Recorder
from resnet_jax.training.run_directory import RunDirectory
from resnet_jax.training.schedules import schedule_rows
from resnet_jax.training.state import count_parameters

COLUMNS = 80  # of a terminal


def run(
    config: ExperimentConfig,
    directory: Path,
    *,
    study: str,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> RunRecord:
    """Trains as `config` says and leaves a record in `directory`; goes on where an interrupted run stopped.

    Args:
      config: the run's configuration.
      directory: the run directory; its last part is the run's name. A finished run's record is returned as it is.
      study: the study that the run belongs to, for the record.
      observers: receive the run's progress. They are closed before this returns or raises.
      stop: asked after every dispatch of steps; once True, a checkpoint is written and Interrupted raised.

    Raises:
      UserError: a value in `config` that has no effect, a directory of another configuration or in use by another
        process, missing data, too few devices.
      OSError: the directory cannot be written.
      Interrupted: `stop` returned True.
    """
    try:
        config.require_effect()
        config = config.in_iterations()  # a record says when the rate dropped, whatever the length of the run
        if not (directory / RECORD_FILE).exists():
            check_machine(config)  # before the directory is made: a mistake leaves nothing behind
        with RunDirectory(directory, config) as claimed:
            finished = claimed.record()
            return _train(claimed, study, observers, stop) if finished is None else finished
    finally:
        for observer in observers:
            observer.close()


def _train(directory: RunDirectory, study: str, observers: Sequence[Observer], stop: Callable[[], bool]) -> RunRecord:
    def note(text: str) -> None:
        for observer in observers:
            observer.note(text)

    started, config, name = time.monotonic(), directory.config, directory.path.name
    try:
        program = prepare(config, note)
        start = program.assembly.pretrained
        _ = program.assembly.initial  # a mistake in it is reported here too
    except UserError:
        directory.abandon()
        raise
    note(headline(program))
    note(table(program))
    checkpoints = Checkpoints(
        directory.checkpoints,
        keep=config.train.keep_checkpoints,
        keep_every=config.train.keep_every,
        # A file of the same name with other weights in it would make another run.
        run=identity(config) | ({"finetune.digest": start.facts.digest} if start else {}),
        note=note,
    )
    try:
        recorder = Recorder(directory, study, program.assembly, program.devices)
        return Trainer(program, recorder, checkpoints, observers, name=name, stop=stop).go(started)
    finally:
        checkpoints.close()


def headline(program: Program) -> str:
    """The net and the data of a run, in one line."""
    model, dataset = program.assembly.config.model, program.assembly.dataset
    parameters = count_parameters(program.assembly.initial.params)
    name = dataset.name.split(",")[0]  # the numbers of images, which a reduced set has in its name, come first here
    return (
        f"{model.net}-{model.depth}, {parameters:,} parameters; {len(dataset.train):,} training and "
        f"{len(dataset.test):,} test images of {name} {program.place}"
    )


def table(program: Program) -> str:
    """Where and how a run computes, for people: a few lines of at most 80 columns."""
    c, where, start = program.assembly.config, program.devices, program.assembly.pretrained
    parts, share = c.train.accumulation, c.train.batch_size // where.count
    batch = f"{c.train.batch_size} images a step, {share} on each device"
    if parts > 1:
        batch += f", in {parts} parts of {share // parts}"
    dtype = c.model.dtype
    rows = {
        "platform": f"{where.first.platform}, {where.first.device_kind}",
        "devices": f"{where.count}, {where.mode}",
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
    """The precision of a net's products on a platform ("cpu", "gpu", "tpu"), for people."""
    chosen, dtype = config.precision, config.dtype
    if dtype != "float32" or platform == "cpu" or chosen == "highest":
        return f"{chosen}, products in {dtype}"
    if platform == "tpu":
        return f"{chosen}, products in {'bfloat16' if chosen == 'default' else 'three passes of bfloat16'}"
    return f"{chosen}, products in TF32 where the device has it"
