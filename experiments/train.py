"""Train one net: a named experiment, any field of its configuration changed on the command line.

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
    """One run of an experiment."""

    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")]
    runs: Path = Path("runs")
    """Folder of run directories; this run's is <runs>/<experiment>/<net, depth, what was changed, seed>."""
    directory: Path | None = None
    """This run's directory, where the one made from its name will not do."""
    log: tuple[str, ...] = ()
    """Where numbers go besides the run directory: names of sinks, such as tensorboard or wandb."""
    summary: bool = False
    """Print the net's stages, shapes, parameters and multiply-adds, and the memory that training takes, by formula and
    by the compiler; train nothing."""
    show_batch: Path | None = None
    """Write a picture of the first training images as the net sees them, with their classes; train nothing."""
    profile: Path | None = None
    """Write a trace of 5 steps, after 3 warm ones, into this folder, for TensorBoard and Perfetto; train nothing else
    and leave no run directory."""


def main(argv: list[str] | None = None) -> int:
    """Parses, trains, prints the result; returns the exit status."""
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
        print("This run had finished before; nothing was trained.")
    return cli.OK if record.diverged_at_step is None else cli.DIVERGED


class OutOfTime(Exception):
    """The deadline has come; what was run has its checkpoint. The message says how to go on."""


def train(
    config: ExperimentConfig,
    directory: Path,
    *,
    study: str,
    compiled: Path,
    deadline: float | None = None,
    log: Sequence[str] = (),
) -> RunRecord:
    """One run with its display and signals; see resnet_jax.training.run.run.

    Args:
      config, directory, study: as for `run`.
      compiled: folder of run directories, beside which compiled programs are kept.
      deadline: by `time.monotonic`; a run that is not done by then is stopped after its step, with a checkpoint.
      log: names of the sinks that receive its numbers.

    Raises:
      OutOfTime: the deadline stopped the run.
      UserError: a name in `log` is no sink's, or its package is not installed; or what `run` raises.
    """
    # Imported here: JAX takes a second, which --help and a typo should not.
    from resnet_jax.training import processes
    from resnet_jax.training.loop import Interrupted
    from resnet_jax.training.observers import open_sinks, sink_classes
    from resnet_jax.training.run import run

    sink_classes(log)  # a mistake is reported before anything is drawn
    machine.use_compilation_cache(compiled)
    with cli.stop_request() as stop:
        observers: tuple[Observer, ...] = ()
        if processes.primary():
            display = cli.display(config.train.iterations, directory.name)
            observers = (display, *open_sinks(log, directory, study, config, display.note))
        try:
            record = run(config, directory, study=study, observers=observers, stop=_or_late(stop, deadline))
        except Interrupted as interrupt:
            # An interruption that nobody asked for is the deadline's.
            if processes.any_of(stop()):
                raise
            raise OutOfTime(str(interrupt)) from interrupt
    if processes.any_of(stop()):  # too late for this run, but not for a sweep's next
        print_record(record, directory)
        raise Interrupted("stopped; this run had just finished.")
    return record


def _or_late(stop: Callable[[], bool], deadline: float | None) -> Callable[[], bool]:
    """Whether a run is to stop: it was asked to, or the deadline has come."""
    return lambda: stop() or (deadline is not None and monotonic() >= deadline)


def print_record(record: RunRecord, directory: Path) -> None:
    """The result of a run, and how long it waited for its images where they are decoded on demand."""
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
        console.print(f"training waited {waited:,.1f} s for its images to be decoded, {share:.0%} of its time")
    console.print(f"record: {directory}, of {record.data.name}")


def _run_name(config: ExperimentConfig, changes: Mapping[str, Any]) -> str:
    """The name of the run's directory. A path counts as the place that it leads to, typed in full or not."""
    others = {name: value for name, value in changes.items() if name != "seed"}
    for name in config.fields_where(lambda role: role.is_path):
        if others.get(name):
            others[name] = os.path.abspath(others[name])
    return f"{variant_name(config, others)}-seed{config.seed}"


if __name__ == "__main__":
    cli.run_main(main)
