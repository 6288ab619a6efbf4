"""The states of the runs of a study, and their table."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from experiments.estimate import Clock
from experiments.study import about
from resnet_jax.config import ExperimentConfig
from resnet_jax.errors import UserError
from resnet_jax.record import CONFIG_FILE, RECORD_FILE, differences, read_config, read_record
from resnet_jax.training.run_directory import other_inputs


def state(directory: Path, config: ExperimentConfig) -> str:
    """The state of a run: "finished", "unfinished", "missing", or a sentence about a problem.

    A finished run from another machine also counts, if its configuration and its data are those of `config`.
    """
    try:
        record = read_record(directory / RECORD_FILE) if (directory / RECORD_FILE).exists() else None
        if record is None and not (directory / CONFIG_FILE).exists():
            return "missing"
        others = differences(record.config if record else read_config(directory / CONFIG_FILE), config)
        if others:
            return f"another configuration: {others[0]}"
        return (other_inputs(record, config) or "finished") if record else "unfinished"
    except UserError as error:
        return str(error)


def finished(runs: Mapping[str, ExperimentConfig], folder: Path) -> int:
    """The number of finished runs in `folder`, whichever process has trained them."""
    return sum(state(folder / name, config) == "finished" for name, config in runs.items())


def show(runs: Mapping[str, ExperimentConfig], folder: Path, title: str, console: Console, clock: Clock) -> None:
    """Prints a table of the runs: depth, steps, seed, state, and the time (taken, or estimated if unfinished)."""
    numbers = (Column(heading, justify="right") for heading in ("depth", "steps", "seed", "time"))
    table = Table("run", *numbers, "state", title=title, caption="~: by estimate")
    estimate, took = clock.estimate(runs), clock.took(runs)
    for name, config in runs.items():
        model, steps, time = config.model, f"{config.train.iterations:,}", ""
        if name in took:
            time = about(took[name])
        elif estimate is not None:
            time = f"~{about(estimate.seconds[name])}"
        table.add_row(name, str(model.depth), steps, str(config.seed), time, state(folder / name, config))
    console.print(table)
