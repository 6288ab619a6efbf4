"""Train one net. The first word names an experiment; options change the fields of its configuration.

python -m experiments.train digits-plain --model.depth=56 --optim.learning-rate=0.05
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from experiments import cli, machine, preview
from experiments.options import parse, typed_fields
from experiments.studies import experiments, studies
from experiments.study import variant_name
from resnet_jax.config import ExperimentConfig, changed_fields, settle, unbind
from resnet_jax.record import RECORD_FILE, RunRecord

if TYPE_CHECKING:
    from resnet_jax.training.observers.base import Observer


@dataclass(frozen=True)
class Train:
    """Train the net of an experiment."""

    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")]
    runs: Path = Path("runs")
    """Folder of all runs; the directory of this run is <runs>/<experiment>/<net, depth, changes, seed>."""
    directory: Path | None = None
    """Directory of this run; None: a directory in the folder `runs`, named after the run."""
    log: tuple[str, ...] = ()
    """Further logs of the metrics: tensorboard, wandb, or both."""
    summary: bool = False
    """Print the stages, shapes, parameters and multiply-adds of the net, and two estimates of the memory for training:
    by formula, and by the compiler; train nothing."""
    show_batch: Path | None = None
    """Picture file (.png, .svg, .pdf or .jpg) for the first training images, augmented as for the net, with their
    classes; train nothing."""
    profile: Path | None = None
    """Folder for a profile of 5 train steps (after 3 other steps), to be opened in TensorBoard or Perfetto; make no run
    directory."""


def main(argv: list[str] | None = None) -> int:
    """Trains a net and prints its errors; returns the exit status."""
    named = experiments()
    words = sys.argv[1:] if argv is None else argv
    name, options = cli.first_word(words, "train", "experiment", list(named), elsewhere=("sweep", studies()))
    program = f"python -m experiments.train {name}"
    chosen = parse(Train, options, default=Train(named[name]), program=program, description=__doc__)
    changes = changed_fields(named[name], chosen.config)
    typed = typed_fields(options, chosen.config)
    config = settle(unbind(chosen.config, changes, typed=typed), chosen={*changes, *typed})
    machine.virtual_devices(machine.share_of_devices(config.parallel))
    if chosen.summary:
        preview.print_summary(config)
        return cli.OK
    if chosen.show_batch is not None:
        preview.write_batch(config, chosen.show_batch)
        return cli.OK
    if argv is None:
        machine.tune_malloc()
    if chosen.profile is not None:
        preview.write_trace(config, chosen.profile)
        return cli.OK
    machine.join(config)
    option = "runs" if chosen.directory is None else "directory"
    cli.decide(lambda: cli.check_folder(chosen.directory or chosen.runs, option))
    directory = chosen.directory or chosen.runs / name / _run_name(config, changes)
    finished = (directory / RECORD_FILE).exists()
    record = train(config, directory, study=name, compiled=chosen.runs, log=chosen.log)
    print_record(record, directory)
    if finished:
        print("This run was already finished; nothing was trained.")
    return cli.OK if record.diverged_at_step is None else cli.DIVERGED


class OutOfTime(Exception):
    """The deadline stopped a run, which has written a checkpoint. The message says how to resume the run."""


def train(
    config: ExperimentConfig,
    directory: Path,
    *,
    study: str,
    compiled: Path,
    deadline: float | None = None,
    log: Sequence[str] = (),
) -> RunRecord:
    """Trains one net, shows its progress, and handles Ctrl-C and SIGTERM.

    Args:
      config: configuration of the run.
      directory: directory of the run.
      study: name of the study or experiment, for the record.
      compiled: folder for the cache of compiled programs.
      deadline: a value of `time.monotonic()`, after which the run stops with a checkpoint; None: no limit.
      log: names of further logs: "tensorboard", "wandb".

    Raises:
      OutOfTime: the deadline stopped the run.
      UserError: a name in `log` is unknown, its package is not installed, or the run cannot start.
    """
    # Imported here, because --help should not wait for JAX.
    from resnet_jax.training import processes
    from resnet_jax.training.loop import Interrupted
    from resnet_jax.training.observers import open_sinks, sink_classes
    from resnet_jax.training.run import run

    sink_classes(log)  # reported before the display starts
    machine.use_compilation_cache(compiled)
    with cli.stop_request() as stop:
        observers: tuple[Observer, ...] = ()
        if processes.primary():
            display = cli.display(config.train.iterations, directory.name)
            observers = (display, *open_sinks(log, directory, study, config, display.note))
        try:
            record = run(config, directory, study=study, observers=observers, stop=_or_late(stop, deadline))
        except Interrupted as interrupt:
            # Without a request to stop, the deadline caused the interruption.
            if processes.any_of(stop()):
                raise
            raise OutOfTime(str(interrupt)) from interrupt
    if processes.any_of(stop()):  # too late for this run, but not for the next of a sweep
        print_record(record, directory)
        raise Interrupted("stopped; this run has just finished.")
    return record


def _or_late(stop: Callable[[], bool], deadline: float | None) -> Callable[[], bool]:
    """Makes a function that returns whether a run must stop: on request, or because the deadline has passed."""
    return lambda: stop() or (deadline is not None and monotonic() >= deadline)


def print_record(record: RunRecord, directory: Path) -> None:
    """Prints the errors of a run and, if it streams images, how long it waited for them."""
    if record.final is None:
        outcome = f"diverged at step {record.diverged_at_step}"
    else:
        final = record.final
        outcome = (
            f"training error {final.train_error:.2%} ({final.train_examples:,} images), "
            f"test error {final.test_error:.2%} ({final.test_examples:,} images) after step {final.step}"
        )
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"{record.run}: {outcome}")
    waited = record.cost.input_s
    if waited is not None:
        share = waited / max(record.cost.train_s, 1e-9)
        console.print(f"training waited {waited:,.1f} s for images to be decoded, {share:.0%} of its time")
    console.print(f"record: {directory} (data: {record.data.name})")


def _run_name(config: ExperimentConfig, changes: Mapping[str, Any]) -> str:
    """The name of the run's directory: net, depth, changed fields, and seed. Changed paths are made absolute.

    Operational fields, such as the number of devices, are left out, so that a run can be resumed on other devices.
    """
    others = {name: value for name, value in changes.items() if name != "seed" and name not in config.operational}
    for name in config.fields_where(lambda role: role.is_path):
        if others.get(name):
            others[name] = os.path.abspath(others[name])
    return f"{variant_name(config, others)}-seed{config.seed}"


if __name__ == "__main__":
    cli.run_main(main)
