"""Tables, figures and a page from run directories alone.

    python -m experiments.report runs/digits-depth runs/digits-depth-long

Nothing is trained and JAX is not imported: a copy of the run directories is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from experiments.cli import expand, run_main
from experiments.next_steps import suggestions, typed
from resnet_jax.errors import UserError
from resnet_jax.reports.document import Table
from resnet_jax.reports.report import DEFAULT_FOLDER, write_report
from resnet_jax.reports.runs import read_runs


@dataclass(frozen=True)
class ReportArgs:
    """Turn run directories into tables, figures and a report."""

    directories: tyro.conf.Positional[tuple[Path, ...]]
    """Studies such as runs/digits-depth, single runs, or folders of studies."""
    out: Path | None = None
    """Folder to write to; None: "report" inside the first directory."""


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report; shows the answer, the main table, what to do next and where the page is. Exit status."""
    arguments = tyro.cli(ReportArgs, args=argv, prog="python -m experiments.report", description=ReportArgs.__doc__)
    arguments = expand(arguments)
    if not arguments.directories:
        raise UserError("directories: none given; usage: python -m experiments.report runs/digits-depth [MORE ...]")
    runs = read_runs(arguments.directories)
    report = write_report(runs, arguments.out or arguments.directories[0] / DEFAULT_FOLDER)
    console = Console(highlight=False)
    for headline, table in zip(report.headlines, report.tables, strict=True):
        console.print(Text(f"\n{headline}\n"))
        console.print(_rich(table))
    if runs.unfinished:
        console.print(Text(f"Unfinished, not in these numbers: {', '.join(run.name for run in runs.unfinished)}"))
    for warning in runs.warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"), soft_wrap=True)
    steps = suggestions(runs)
    if steps:
        console.print("\nNext:", highlight=False)
    for step in steps:
        console.print(Text(f"  {step.what}"))
        for words in step.commands:
            console.print(Text(typed(words, console.width)), soft_wrap=True)
    page = next(path for path in report.files if path.suffix == ".html")
    console.print(Text(f"\nThe whole report, with figures; tables and figures lie beside it:\n{page}"), soft_wrap=True)
    return 0


def _rich(table: Table) -> RichTable:
    rich = RichTable(header_style="bold")
    for number, header in enumerate(table.headers):
        rich.add_column(Text(header), justify="left" if number < table.text_columns else "right")
    for row in table.rows:
        rich.add_row(*map(Text, row))
    return rich


if __name__ == "__main__":
    run_main(main)
