"""Evaluate a trained net twice: with running batch-norm statistics, and with averages over the training set.

    python -m experiments.recompute runs/digits-depth/plain-56-seed0 runs/digits-depth/resnet-56-seed0

The papers' authors used such averages in the models that they published (resnet_jax/training/batch_stats.py). The
command needs the data of the runs, and does not change the runs. For each run it compiles the net, passes over the
training set, and evaluates twice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from experiments import cli, machine
from experiments.options import parse
from experiments.printed import Printed
from resnet_jax.errors import UserError
from resnet_jax.files import write_json
from resnet_jax.record import RECORD_FILE


@dataclass(frozen=True)
class Recompute:
    """Evaluate finished runs with running and with recomputed batch-norm statistics."""

    directories: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories with a checkpoint of the last step, or folders that contain such directories."""
    out: Path | None = None
    """JSON file for the numbers."""
    compiled: Path = Path("runs")
    """Folder of the cache of compiled programs."""


def main(argv: list[str] | None = None) -> int:
    """Evaluates the runs and prints a table of their errors; returns the exit status."""
    chosen = parse(Recompute, argv, program="python -m experiments.recompute", description=__doc__)
    runs = [run for directory in chosen.directories for run in _runs(directory)]
    if not runs:
        raise UserError("directories: none given; usage: python -m experiments.recompute RUN [MORE ...]")
    machine.use_compilation_cache(chosen.compiled)
    rows, failed = [], 0
    for run in runs:
        try:
            rows.append(both(run))
        except UserError as error:
            cli.warn(f"error: {error}")
            failed += 1
    if not rows:
        return cli.BAD_INPUT
    title = "Error in eval mode, %, with running statistics and with averages over the training set"
    cells = []
    for row in rows:
        errors = (row[split][kind] for split in ("train_error", "test_error") for kind in ("running", "recomputed"))
        cells.append((row["run"], *(f"{100 * error:.2f}" for error in errors)))
    headings = ("run", "training", "recomputed", "test", "recomputed")
    Console().print(Printed(title, headings, cells, words=1).rich())
    if chosen.out is not None:
        write_json(chosen.out, {"rows": rows})
    return cli.BAD_INPUT if failed else cli.OK


def both(directory: Path) -> dict[str, Any]:
    """Training and test error (fractions) of the net of a finished run, with running and with recomputed statistics.

    Raises:
      UserError: the checkpoint of the last step is missing, or has recomputed statistics already.
    """
    from resnet_jax.training.batch_stats import recompute
    from resnet_jax.training.restore import load_finished

    program, state = load_finished(directory, print)
    config = program.assembly.config
    if config.train.recompute_batch_stats:
        raise UserError(
            f"{directory}: trained with train.recompute_batch_stats, so it has no running statistics to compare with."
        )
    states = {"running": state, "recomputed": recompute(program, state)}
    row: dict[str, Any] = {"run": directory.name, "depth": config.model.depth, "net": config.model.net}
    for split in ("train", "test"):
        row[f"{split}_error"] = {kind: program.evaluate(state, split).error for kind, state in states.items()}
    return row


def _runs(directory: Path) -> list[Path]:
    if (directory / RECORD_FILE).exists():
        return [directory]
    found = sorted(file.parent for file in directory.glob(f"*/{RECORD_FILE}"))
    if not found:
        raise UserError(f"{directory}: no run with a {RECORD_FILE}, neither here nor in the folders directly under it.")
    return found


if __name__ == "__main__":
    cli.run_main(main)
