"""Writes a report on run directories: tables, figures, Markdown, CSV and one self-contained HTML page."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically
from resnet_jax.record import CONFIG_FILE, RECORD_FILE
from resnet_jax.reports.comparison import Comparison
from resnet_jax.reports.control import control_findings, control_sentence, control_table, gap_table
from resnet_jax.reports.csv_files import runs_csv, table_csv
from resnet_jax.reports.document import (
    Bullets,
    Cell,
    Command,
    Element,
    Heading,
    Link,
    Paragraph,
    Picture,
    Table,
    markdown,
    markdown_table,
)
from resnet_jax.reports.figures.budget import error_against_budget
from resnet_jax.reports.figures.curves import training_curves
from resnet_jax.reports.figures.style import save
from resnet_jax.reports.grouping import comparisons
from resnet_jax.reports.page import page
from resnet_jax.reports.prose import METHOD, QUESTIONS, data_words, title
from resnet_jax.reports.runs import Run, Runs
from resnet_jax.reports.tables import cost_table, runs_table, twins_table
from resnet_jax.reports.text import NOTHING, TIMES, count
from resnet_jax.reports.views import View, curve_data
from resnet_jax.text import plural

DEFAULT_FOLDER = "report"
CONTROL = "Control: degradation, or too little training?"
"""The question of a control experiment."""
Repeat = Callable[[Run], str | None]
"""Function that returns the command to repeat a run, or None if there is no such command."""


@dataclass(frozen=True)
class Report:
    """The files and tables of a written report."""

    views: tuple[View, ...]
    """The content of the report for each comparison."""
    apart: str
    """A sentence on why there are several comparisons; empty for one comparison."""
    files: tuple[Path, ...]
    """The written files, the most important first."""


def write_report(runs: Runs, folder: Path, *, repeat: Repeat | None = None, command: str = "") -> Report:
    """Writes the report on some runs into a folder, and creates the folder if necessary.

    The same runs give the same bytes, so a report can be kept under version control.

    Args:
      runs: the runs that `read_runs` found.
      folder: the folder for the report's files.
      repeat: function that returns the command to repeat a run, for the table of runs.
      command: the command that makes the report, for the metadata of the figures.

    Raises:
      UserError: no run has a record yet, or the folder cannot be written.
    """
    if not runs.complete:
        unfinished = [f"{plural(len(runs.unfinished), 'run')} unfinished"] * bool(runs.unfinished)
        problems = "; ".join([*unfinished, *(warning.rstrip(".") for warning in runs.warnings)])
        raise UserError(f"a report needs at least one run with a record.json; found none: {problems}.")
    compared = comparisons(runs.complete, runs.order)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _Writer(runs, compared, folder, repeat or (lambda run: None), command).write()
    except OSError as error:
        raise UserError(
            f"{folder}: the report cannot be written ({error.strerror}); choose another folder with --out."
        ) from error


@dataclass(frozen=True)
class _Writer:
    runs: Runs
    compared: tuple[Comparison, ...]
    folder: Path
    repeat: Repeat
    command: str

    def write(self) -> Report:
        views = tuple(View.of(comparison) for comparison in self.compared)
        heading = title([view.subject for view in views], self.compared)
        blocks: list[Element] = [Heading(heading, 1)]
        stems: list[str] = []
        apart = _why_apart(self.compared)
        if apart:
            blocks.append(Paragraph(apart))
        for number, view in enumerate(views):
            # The figures of the first comparison have plain names; those of further comparisons get a number.
            suffix = f"-{number + 1}" if number else ""
            blocks += self._comparison(view, number if len(views) > 1 else None, suffix, stems)
        blocks += self._closing()
        texts = {
            "report.html": page(heading, blocks, self.folder),
            "report.md": markdown(blocks),
            "table.md": "\n\n".join(markdown_table(view.table) for view in views) + "\n",
            "table.csv": table_csv(self.compared),
            "runs.csv": runs_csv(self.runs.complete),
        }
        for name, text in texts.items():
            write_atomically(self.folder / name, text)
        figures = [f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")]
        files = tuple(self.folder / name for name in (*texts, *figures))
        return Report(views, apart, files)

    def _comparison(self, view: View, number: int | None, suffix: str, stems: list[str]) -> list[Element]:
        comparison = view.comparison
        about = self._about(comparison)

        def picture(shown: Picture, figure: Figure) -> Picture:
            save(figure, self.folder, shown.stem + suffix, about)
            stems.append(shown.stem + suffix)
            return Picture(shown.stem + suffix, shown.caption, shown.alternative, shown.curves)

        blocks: list[Element] = [] if number is None else [Heading(f"Comparison {number + 1}")]
        blocks.append(Paragraph(view.headline, lead=True))
        if view.figure is not None:
            blocks.append(picture(view.figure, view.draw()))
        blocks += [Heading("Errors"), view.table]
        if view.findings is not None:
            blocks += [Heading("Findings"), view.findings]
        if view.subject in QUESTIONS:
            blocks += [Heading("Question"), Paragraph(QUESTIONS[view.subject])]
        curves = Picture(
            "training-curves",
            "Training curves as in He et al. 2015, Fig. 6. Dashed: running training error, in train mode. Solid: test "
            "error. Lines are means over seeds, and bands reach from the lowest to the highest error. Vertical dotted "
            "lines are drops of the learning rate. Diverged runs are dotted curves that end in a cross.",
            "Running training error and test error against iterations",
            curve_data(comparison, view.lines),
        )
        blocks += [Heading("Training curves"), picture(curves, training_curves(comparison, view.lines))]
        if view.differences is not None:
            blocks += [Heading("Differences"), view.differences]
        twins = twins_table(comparison) if comparison.question == "depth" else None
        if twins is not None:
            blocks += [Heading("Twins"), twins]
        control = view.control
        if control is not None:
            blocks.append(Heading(CONTROL))
            shown = Picture(
                "error-against-budget",
                f"Training error of {control.base.name} and of nets to compare it with, in eval mode, by number of "
                "iterations. Each learning rate has a marker, and a line joins points at the rate of the main "
                "comparison. Mean and sample standard deviation.",
                "Training error by number of iterations, with a marker for each learning rate",
            )
            blocks += [Paragraph(control_sentence(control)), picture(shown, error_against_budget(control))]
            gaps = gap_table(control)
            blocks += [control_findings(control), control_table(control), *([] if gaps is None else [gaps])]
        return [*blocks, Heading("Cost"), cost_table(comparison)]

    def _about(self, comparison: Comparison) -> dict[str, str]:
        runs = [run for v in (*comparison.cells, *comparison.others) for run in v.runs]
        about = {
            "Study": ", ".join(dict.fromkeys(run.record.study for run in runs)),
            "Runs": ", ".join(run.record.run for run in runs),
            "Data": ", ".join(dict.fromkeys(f"{r.record.data.name} {r.record.data.fingerprint}" for r in runs)),
            "Commit": ", ".join(dict.fromkeys(run.record.environment.code for run in runs)),
        }
        return {**about, **({"Command": self.command} if self.command else {})}

    def _closing(self) -> list[Element]:
        runs = self.runs
        blocks: list[Element] = [Heading("How each number was measured"), Bullets(METHOD)]
        blocks += [Heading("Data and environment"), _environment(runs.complete)]
        in_order = [run for c in self.compared for variant in (*c.cells, *c.others) for run in variant.runs]
        blocks += [Heading("Runs"), runs_table(in_order, self._links)]
        apart = [
            f"{run.name}: diverged at step {count(run.record.diverged_at_step or 0)}."
            for run in runs.complete
            if run.diverged
        ]
        for unfinished in runs.unfinished:
            of = f" of {count(unfinished.iterations)}" if unfinished.iterations is not None else ""
            done = f"{count(unfinished.step)}{of} iterations done"
            apart.append(f"{unfinished.name}: unfinished, {done}; left out of all numbers.")
        apart += [f"{name}: not started." for name in runs.missing]
        apart += runs.warnings
        blocks.append(Heading("Diverged, unfinished or damaged"))
        blocks.append(Bullets(tuple(apart)) if apart else Paragraph("None."))
        return blocks

    def _links(self, run: Run) -> tuple[Cell, ...]:
        links = []
        for name, text in ((RECORD_FILE, "record"), (CONFIG_FILE, "configuration")):
            path = Path(os.path.relpath(run.directory.resolve() / name, self.folder.resolve())).as_posix()
            links.append(Link(text, path) if (run.directory / name).exists() else NOTHING)
        command = self.repeat(run)
        return (*links, NOTHING if command is None else Command(command))


def _why_apart(compared: Sequence[Comparison]) -> str:
    if len(compared) == 1:
        return ""
    data = {c.cells[0].runs[0].record.data.fingerprint: c.cells[0].runs[0].record.data.name for c in compared}
    if len(data) == len(compared):
        return (
            f"The runs are on {len(data)} data sets ({', '.join(data.values())}). Errors on different data are not "
            "compared: each data set has a comparison of its own."
        )
    return (
        f"The runs make {len(compared)} comparisons. Nets are compared if they belong to one study on one data set, "
        "or if they differ only in the net, the number of iterations and the learning rate."
    )


def _environment(runs: Sequence[Run]) -> Table:
    found: dict[str, Counter[str]] = {}
    for run in runs:
        environment = run.record.environment
        facts = {
            "data": data_words(run),
            "data fingerprint": run.record.data.fingerprint,
            "code": environment.code,
            "device": f"{environment.devices} {TIMES} {environment.device}",
            "platform": environment.platform,
            "CPU cores": environment.cpu_cores,
            "Python": environment.python,
            **environment.versions,
            "XLA flags": environment.xla_flags or "none",
        }
        for fact, value in facts.items():
            found.setdefault(fact, Counter())[str(value)] += 1
    rows = tuple(
        (fact if i == 0 else "", value, count(number))
        for fact, values in found.items()
        for i, (value, number) in enumerate(sorted(values.items()))
    )
    return Table("Distinct values over all runs with a record.", ("what", "value", "runs"), rows, text_columns=2)
