"""Run a study: train every variant with every seed. Finished runs are not trained again.

python -m experiments.sweep digits-depth --seeds 0 1 2
python -m experiments.sweep digits-depth --only 'plain-56-*'  # some of the runs
python -m experiments.sweep digits-depth --shard 1/2          # on one machine, 2/2 on another
"""

import dataclasses
import fnmatch
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from experiments import cli, jobs, machine
from experiments.budget import Budget
from experiments.estimate import Clock, decoding, progress
from experiments.next_steps import python
from experiments.options import parse, typed_fields
from experiments.states import finished, show, state
from experiments.studies import experiments, studies
from experiments.study import Study
from experiments.train import OutOfTime, print_record, train
from resnet_jax.config import ExperimentConfig, changed_fields, unbind
from resnet_jax.errors import UserError
from resnet_jax.files import write_json
from resnet_jax.record import RECORD_FILE, STUDY_FILE, read_json
from resnet_jax.text import nearest
from resnet_jax.training.observers import sink_classes


@dataclass(frozen=True)
class Sweep:
    """Run a study. Options for fields of the configuration change the base of the study, and so every variant."""

    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")]
    runs: Path = Path("runs")
    """Folder of all studies; the run directories of this study are in <runs>/<study>."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds; every variant runs with each of them."""
    only: tuple[str, ...] = ()
    """Patterns such as 'plain-20-*' '*-seed0': only runs with such names are trained; none: all."""
    shard: str = "1/1"
    """i/n: train only the i-th of n parts of the study, so that n machines can divide it."""
    jobs: int | Literal["auto"] = 1
    """Number of processes. Each trains one run at a time, the longest first, on its share of the CPU cores and on
    one GPU, if there is any. "auto": one process for each GPU or, without GPUs, for each core."""
    budget: float | None = None
    """Wall-clock seconds for the sweep; None: no limit. A run that is not expected to end in time is not started. A run
    that has not ended when the time is up is stopped with a checkpoint. The sweep then lists the remaining runs and
    ends with status 0; the same command resumes it."""
    log: tuple[str, ...] = ()
    """Further logs of the metrics: tensorboard, wandb, or both."""
    dry_run: bool = False
    """List the runs, their states and the estimated time; run nothing."""


def main(argv: list[str] | None = None) -> int:
    """Trains the missing runs of a study; returns the exit status, 2 if a run could not be started."""
    listed = studies()
    known = {name: study for name, (study, _) in listed.items()}
    words = sys.argv[1:] if argv is None else argv
    name, options = cli.first_word(words, "sweep", "study", list(known), elsewhere=("train", experiments()))
    default = Sweep(known[name].base, seeds=known[name].seeds)
    program = f"python -m experiments.sweep {name}"
    description = f"{name}: {listed[name][1]} {_size(known[name])}\n\n{__doc__}"
    chosen = parse(Sweep, options, default=default, program=program, description=description)
    typed = typed_fields(options, chosen.config)
    base = unbind(chosen.config, changed_fields(known[name].base, chosen.config), typed=typed)
    study = dataclasses.replace(known[name], base=base)
    _check(chosen, known[name], typed)
    words = ["experiments.sweep", name, *options]
    status, folder = carry_out(study, chosen, words, stated=known[name], in_command=argv is None)
    if folder is not None and not chosen.dry_run and any(folder.glob(f"*/{RECORD_FILE}")):
        Console().print(f"{python()} -m experiments.report {folder}", highlight=False, soft_wrap=True)
    return status


def carry_out(
    study: Study, chosen: Sweep, words: Sequence[str], *, stated: Study, in_command: bool
) -> tuple[int, Path | None]:
    """Prints the runs of a study and their states, and trains the missing runs.

    Args:
      study: the study to run.
      chosen: the options of the command line.
      words: the command after "python -m"; `jobs.run` runs it in each process.
      stated: the study as its file defines it, without changes of the command line. The stated cost is for this study.
      in_command: True in a command, whose process may be restarted; False in a call from Python.

    Returns:
      The exit status, and the folder of the study; None instead of the folder in a process that `jobs.run` started.
    """
    sink_classes(chosen.log)
    if len(set(chosen.seeds)) < len(chosen.seeds) or not chosen.seeds:
        raise UserError(f"seeds: got {list(chosen.seeds)}; legal: one or more different whole numbers.")
    if chosen.config.parallel.processes != 1 and chosen.jobs != 1:
        raise UserError(
            f"jobs: got {chosen.jobs}; legal: 1 with parallel.processes={chosen.config.parallel.processes}, because "
            "these processes train each run together."
        )
    part, parts = parse_shard(chosen.shard)
    runs = dict(list(_wanted(study.runs(chosen.seeds), chosen.only).items())[part - 1 :: parts])
    shares = _shares(chosen, len(runs))
    folder = chosen.runs / study.name
    gpu, cores = bool(jobs.gpus()), len(jobs.cores())
    at_once = None if gpu or not cores else cores  # asked before `claim_cores` leaves this process its share alone
    clock = Clock(stated, folder, gpu=gpu)
    budget = Budget.of(chosen.budget, clock, inherited=in_command)
    console = Console()

    def say(processes: int) -> None:
        text = progress(runs, finished(runs, folder), clock.estimate(runs), processes, stated.cost, at_once=at_once)
        console.print(text, highlight=False, soft_wrap=True)

    machine.virtual_devices(machine.share_of_devices(chosen.config.parallel))
    if in_command and not chosen.dry_run:
        machine.tune_malloc()
    if not chosen.dry_run:
        machine.join(chosen.config)
        cli.require_alike({f"run {number} of the sweep": name for number, name in enumerate(runs, start=1)})
    cli.decide(lambda: cli.check_folder(chosen.runs, "runs"))
    if jobs.claim_cores():
        # The longest runs come first, so that no process works alone at the end.
        runs = dict(sorted(runs.items(), key=lambda run: -run[1].model.depth * run[1].train.iterations))
        failed, _ = _run_missing(runs, folder, chosen.runs, console, budget, chosen.log, lambda: say(len(shares)))
        return cli.BAD_INPUT if failed else cli.OK, None
    title = f"{study.name}, part {part} of {parts}" if parts > 1 else study.name
    if not runs:
        console.print(f"{title}: this part has no run, because there are fewer runs than parts.", highlight=False)
        return cli.OK, folder
    if not chosen.dry_run and cli.decide(lambda: finished(runs, folder) == len(runs)):
        console.print(f"{title}: all runs are finished ({len(runs)}), in {folder}.", highlight=False, soft_wrap=True)
        return cli.OK, folder
    show(runs, folder, title, console, clock)
    say(len(shares))
    if chosen.dry_run:
        if text := decoding(runs):
            console.print(text, highlight=False, soft_wrap=True)
        return cli.OK, folder
    cli.decide(lambda: _list_runs(folder, study.runs(chosen.seeds)))
    if len(shares) == 1:
        failed, busy = _run_missing(runs, folder, chosen.runs, console, budget, chosen.log, lambda: say(1))
    else:
        console.print(jobs.describe(shares), highlight=False)
        # Each process runs the same command; its environment names its cores.
        statuses = jobs.run([*words, "--jobs", str(len(shares))], shares, budget.environment)
        failed, busy = sum(status != cli.OK for status in statuses), 0
    done = finished(runs, folder)
    if budget.deadline is not None and done < len(runs):
        _say_what_is_left(runs, folder, console)
    rest = f", {busy} run by another process" * bool(busy) + f", {failed} failed" * bool(failed)
    console.print(f"\n{done} of {len(runs)} runs finished{rest}.", highlight=False)
    return cli.BAD_INPUT if failed else cli.OK, folder


def _list_runs(folder: Path, runs: Iterable[str]) -> None:
    """Writes the names of the runs to `STUDY_FILE`; reports list the runs in this order.

    Names that an earlier command wrote, and that are not in `runs`, come last.
    """
    file = folder / STUDY_FILE
    before = read_json(file).get("runs", []) if file.exists() else []
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, {"runs": list(dict.fromkeys([*runs, *before]))})


def _size(study: Study) -> str:
    cost = f", which take {study.cost.text}" if study.cost else ""
    return f"{len(study.variants) * len(study.seeds)} runs{cost}."


def _say_what_is_left(runs: Mapping[str, ExperimentConfig], folder: Path, console: Console) -> None:
    """Prints which runs are unfinished and which have not been started, at the end of the time limit."""
    states = {name: state(folder / name, config) for name, config in runs.items()}
    for found, what in (
        ("unfinished", "Unfinished, with a checkpoint"),
        ("missing", "Not started, because the time is up"),
    ):
        names = [name for name in runs if states[name] == found]
        if names:
            console.print(f"\n{what}: {', '.join(names)}.", highlight=False, soft_wrap=True)
    console.print("The same command resumes the sweep.", highlight=False)


def _check(chosen: Sweep, study: Study, typed: Mapping[str, Any]) -> None:
    # A change on the command line that no run uses would be ignored silently.
    varied = {"seed", *set.intersection(*map(set, study.variants))}
    runs = dataclasses.replace(study, base=chosen.config).runs((0,)).values()
    for name, value in {**changed_fields(study.base, chosen.config), **typed}.items():
        if name in varied:
            how = "--seeds" if name == "seed" else "experiments.train, for one run"
            raise UserError(f"{name}: got {value!r}, but the runs of {study.name} differ in this field; use {how}.")
        if not any(config.value(name) == chosen.config.value(name) for config in runs):
            needs = chosen.config.roles()[name].needs
            assert needs is not None, "only fields without effect are dropped"
            raise UserError(
                f"{name}: got {value!r}; legal: {chosen.config.default(name)!r}, because no run of {study.name} uses "
                f"the given value. The field has an effect only with {needs.words}."
            )


def _wanted(runs: Mapping[str, ExperimentConfig], only: tuple[str, ...]) -> dict[str, ExperimentConfig]:
    for pattern in only:
        if not fnmatch.filter(runs, pattern):
            raise UserError(f"only: got {pattern!r}, which no run's name matches; {nearest(pattern, list(runs))}")
    return {name: c for name, c in runs.items() if not only or any(fnmatch.fnmatchcase(name, p) for p in only)}


def _shares(chosen: Sweep, runs: int) -> list[jobs.Share]:
    """The share of the machine (CPU cores, GPU) for each process of the sweep.

    With --jobs=auto there are at most as many processes as the study has runs. Finished runs count too, so that each
    process of a resumed study gets the same cores as before.
    """
    cores, gpus = jobs.cores(), jobs.gpus()
    number = max(1, min(len(gpus or cores), runs)) if chosen.jobs == "auto" else chosen.jobs
    if number < 1:
        raise UserError(f"jobs: got {number}; legal: a whole number above 0, or 'auto'.")
    each = chosen.config.parallel.devices
    if gpus and number > 1 and each > 1:
        raise UserError(
            f"jobs: got {chosen.jobs}; legal: 1, because a run needs parallel.devices={each} GPUs, and each of "
            f"several jobs has one."
        )
    return jobs.deal(number, cores, gpus)


def _run_missing(
    runs: Mapping[str, ExperimentConfig],
    folder: Path,
    compiled: Path,
    console: Console,
    budget: Budget,
    log: Sequence[str],
    say: Callable[[], None],
) -> tuple[int, int]:
    """Trains the missing runs, and calls `say` after each.

    Returns:
      The number of runs that failed, and the number of runs that other processes are training.
    """
    from resnet_jax.training.run_directory import Busy

    failed = busy = 0
    for number, (name, config) in enumerate(runs.items(), start=1):
        directory = folder / name
        if not cli.decide(lambda d=directory, c=config, n=name: state(d, c) != "finished" and budget.allows(n, c)):  # type: ignore[misc]
            continue
        console.print(f"\nrun {number} of {len(runs)}: {name}", highlight=False)
        try:
            record = train(config, directory, study=folder.name, compiled=compiled, deadline=budget.deadline, log=log)
        except OutOfTime as late:
            console.print(f"The time is up: {late}", highlight=False, markup=False, soft_wrap=True)
        except Busy:
            console.print(f"{name}: another process is running it; continuing with the next.", highlight=False)
            busy += 1
        except UserError as error:
            if cli.joined():
                raise  # all processes must end, because the others may not have failed
            console.print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
            failed += 1
        else:
            print_record(record, directory)
            say()
    return failed, busy


def parse_shard(text: str) -> tuple[int, int]:
    """Parses "i/n" into the numbers i and n.

    Raises:
      UserError: `text` is not i/n with 1 <= i <= n.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise UserError(f"shard: got {text!r}; legal: i/n with i from 1 to n, such as 2/4.")
    return part, parts


if __name__ == "__main__":
    cli.run_main(main)
