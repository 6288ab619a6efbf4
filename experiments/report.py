"""Make tables, figures and a page from run directories.

    python -m experiments.report runs/digits-depth runs/digits-depth-long

Nothing is trained and JAX is not imported, so a copy of the run directories is enough.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from experiments.cli import run_main
from experiments.options import parse
from resnet_jax.errors import UserError

if TYPE_CHECKING:
    from resnet_jax.reports.document import Table

SPARE = ("multiply-adds, M", "running training error, %", "parameters", "pairs")
"""Columns that a narrow screen does not show; the first one is left out first."""
MOST_ROWS = 16
"""Largest number of findings that the screen shows; the page of the report has all."""


@dataclass(frozen=True)
class ReportArgs:
    """Turn run directories into tables, figures and a report."""

    directories: tyro.conf.Positional[tuple[Path, ...]]
    """Studies such as runs/digits-depth, single runs, or folders of studies."""
    out: Path | None = None
    """Folder to write to; None: "report" inside the first directory."""


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report and prints its main tables; returns the exit status."""
    arguments = parse(ReportArgs, argv, program="python -m experiments.report", description=ReportArgs.__doc__)
    if not arguments.directories:
        raise UserError("directories: none given; usage: python -m experiments.report runs/digits-depth [MORE ...]")
    # Imported here, because --help should not wait for matplotlib and SciPy.
    from resnet_jax.reports.report import DEFAULT_FOLDER

    command = shlex.join(["python", "-m", "experiments.report", *map(str, arguments.directories)])
    show_report(arguments.directories, arguments.out or arguments.directories[0] / DEFAULT_FOLDER, command)
    return 0


def show_report(directories: Sequence[Path], out: Path, command: str) -> None:
    """Writes the report of some runs; prints findings, main tables, suggested commands and the path of its page.

    Args:
      directories: studies, single runs, or folders of studies.
      out: folder of the report.
      command: the command line; it is saved in the metadata of the figures.
    """
    from experiments.next_steps import repeat, suggestions, typed
    from resnet_jax.reports.control import control_sentence
    from resnet_jax.reports.report import CONTROL, write_report
    from resnet_jax.reports.runs import read_runs
    from resnet_jax.text import plural

    runs = read_runs(directories)
    report = write_report(runs, out, repeat=repeat, command=command)
    console = Console(highlight=False)
    if report.apart:
        console.print(Text(f"\n{report.apart}"))
    for view in report.views:
        console.print(Text(f"\n{view.headline}\n"))
        console.print(_fitting(view.table, console))
        if view.findings is not None and len(view.findings.rows) <= MOST_ROWS:
            console.print(_fitting(view.findings, console))
        if view.control is not None:
            console.print(Text(f"\n{CONTROL} {control_sentence(view.control)}"))
    if runs.unfinished:
        names = ", ".join(run.name for run in runs.unfinished)
        console.print(Text(f"{len(runs.unfinished)} unfinished, not in these numbers: {names}"))
    if runs.missing:
        console.print(Text(f"{plural(len(runs.missing), 'run')} of the study not started: {', '.join(runs.missing)}"))
    for warning in runs.warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"), soft_wrap=True)
    steps = suggestions(runs)
    if steps:
        console.print("\nNext:", highlight=False)
    for step in steps:
        console.print(Padding(Text(step.what), (0, 0, 0, 2), expand=False))
        for words in step.commands:
            console.print(Text(typed(words, console.width)), soft_wrap=True)
    page = next(path for path in report.files if path.suffix == ".html")
    console.print(Text(f"\nThe whole report; its tables and figures are in the same folder:\n{page}"), soft_wrap=True)


def _fitting(table: Table, console: Console) -> RichTable:
    """The table without the columns of `SPARE` that do not fit on the screen."""
    left_out: list[str] = []
    for header in ("", *SPARE):
        left_out.append(header)
        rich = _rich(table, left_out)
        drawn = "".join(segment.text for segment in console.render(rich))  # not cut at the screen's edge yet
        if max(map(len, drawn.splitlines())) <= console.width:
            return rich
    return rich


def _rich(table: Table, left_out: Collection[str] = ()) -> RichTable:
    shown = [number for number, header in enumerate(table.headers) if header not in left_out]
    rich = RichTable(header_style="bold")
    for number in shown:
        header = table.headers[number]
        justify: JustifyMethod = "left" if number < table.text_columns else "right"
        # At least as wide as the longest word of the header, so that no word is broken.
        widest = max(map(len, header.split()))
        rich.add_column(Text(header), justify=justify, overflow="fold", min_width=widest)
    for row in table.rows:
        cells = (row[number] for number in shown)
        rich.add_row(*(Text(cell if isinstance(cell, str) else cell.text) for cell in cells))
    return rich


if __name__ == "__main__":
    run_main(main)
