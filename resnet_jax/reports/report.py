"""From run directories to a report: tables, figures, Markdown, CSV and one self-contained page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically
from resnet_jax.reports import words
from resnet_jax.reports.comparison import Comparison, comparisons
from resnet_jax.reports.control import control_table, find_control, gap_table
from resnet_jax.reports.control_words import control_words
from resnet_jax.reports.csv_files import runs_csv, table_csv
from resnet_jax.reports.document import Bullets, Element, Heading, Paragraph, Picture, Table, markdown, markdown_table
from resnet_jax.reports.figures import study as plots
from resnet_jax.reports.page import page
from resnet_jax.reports.paper_table import against_the_first, find_lines, lines_table, lines_words
from resnet_jax.reports.runs import Run, Runs
from resnet_jax.reports.tables import cost_table, depth_table, error_table, residual_table, runs_table, twin_sentences
from resnet_jax.reports.text import NOTHING, count, plural

DEFAULT_FOLDER = "report"


@dataclass(frozen=True)
class Report:
    """What was written."""

    tables: tuple[Table, ...]
    """The main table of each comparison."""
    answers: tuple[str, ...]
    """The answer in words of each comparison."""
    headlines: tuple[str, ...]
    """The same in one sentence, for a screen."""
    files: tuple[Path, ...]
    """In the order in which a reader wants them."""


def write_report(runs: Runs, folder: Path) -> Report:
    """Writes the report on some runs into a folder, which is made where it is missing.

    The same runs give the same bytes, so a report can be kept under version control.

    Raises:
      UserError: no run has a record yet, or the folder cannot be written.
    """
    if not runs.complete:
        problems = f" ({' '.join(runs.warnings)})" if runs.warnings else ""
        raise UserError(
            f"no finished run among these: {plural(len(runs.unfinished), 'run')} unfinished{problems}; "
            "a report needs at least one record.json."
        )
    compared = comparisons(runs.complete)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write(runs, compared, folder)
    except OSError as error:
        raise UserError(
            f"{folder}: the report cannot be written ({error.strerror}); choose another with --out."
        ) from error


def _write(runs: Runs, compared: tuple[Comparison, ...], folder: Path) -> Report:
    views = tuple(_View.of(comparison) for comparison in compared)
    subjects = tuple(dict.fromkeys(view.subject for view in views))
    title = words.title(subjects, compared)
    blocks: list[Element] = [Heading(title, 1), *(Paragraph(words.QUESTIONS[subject]) for subject in subjects)]
    stems: list[str] = []
    for number, view in enumerate(views):
        # The first comparison's figures have plain names; a second set gets a number.
        suffix = f"-{number + 1}" if number else ""
        blocks += _comparison(view, number if len(compared) > 1 else None, suffix, folder, stems)
    blocks += _closing(runs, compared)
    tables = tuple(view.table for view in views)
    texts = {
        "report.html": page(title, blocks, folder),
        "report.md": markdown(blocks),
        "table.md": "\n\n".join(map(markdown_table, tables)) + "\n",
        "table.csv": table_csv(compared),
        "runs.csv": runs_csv(runs.complete),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text)
    figures = [f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")]
    files = tuple(folder / name for name in (*texts, *figures))
    return Report(tables, tuple(view.answer for view in views), tuple(view.headline for view in views), files)


@dataclass(frozen=True)
class _View:
    """How a comparison is shown: by depth, or as the lines of a paper's table."""

    comparison: Comparison
    subject: str
    answer: str
    headline: str
    table: Table
    figure: tuple[str, Figure, str, str]
    """Stem, figure, caption, and what it shows."""
    curves: Figure
    differences: tuple[Table | None, ...]

    @classmethod
    def of(cls, comparison: Comparison) -> _View:
        """The lines of a paper's table where the nets are such, depth elsewhere."""
        lines = find_lines(comparison)
        if lines is not None:
            answer = lines_words(lines, words.setting_words(comparison))
            return cls(
                comparison,
                lines.table.subject,
                answer,
                answer,
                lines_table(lines),
                (
                    "error-by-line",
                    plots.error_by_line(lines),
                    f"Error of the net of the last step, a line for each of {lines.table.source}, the paper's place in "
                    "square brackets. Mean over seeds, bars: sample standard deviation. Dashed: above it a net fails.",
                    "Training error and test error of each line of the paper's table",
                ),
                plots.training_curves(comparison, lines),
                (against_the_first(lines),),
            )
        return cls(
            comparison,
            words.DEPTH,
            words.answer(comparison),
            words.headline(comparison),
            error_table(comparison),
            (
                "error-against-depth",
                plots.error_against_depth(comparison),
                "Error of the net of the last step against depth; training error in eval mode over all training "
                "examples. Mean over seeds, bars: sample standard deviation, small open marks: single seeds. Runs that "
                "diverged are in no mean.",
                "Training error and test error against depth, a line for each kind of net",
            ),
            plots.training_curves(comparison),
            (depth_table(comparison), residual_table(comparison)),
        )


def _comparison(view: _View, number: int | None, suffix: str, folder: Path, stems: list[str]) -> list[Element]:
    """The sections of one comparison; its figures are saved on the way, their names added to `stems`."""

    def picture(stem: str, figure: Figure, caption: str, alternative: str) -> Picture:
        plots.save(figure, folder, stem + suffix)
        stems.append(stem + suffix)
        return Picture(stem + suffix, caption, alternative)

    comparison = view.comparison
    blocks: list[Element] = [] if number is None else [Heading(f"Comparison {number + 1}")]
    blocks += [Paragraph(view.answer, lead=True), Heading("Errors"), view.table, picture(*view.figure)]
    blocks.append(
        picture(
            "training-curves",
            view.curves,
            "Training in the manner of He et al. 2015, Fig. 6. Dashed: running training error, in train mode; solid: "
            "test error. Mean over seeds, the band from lowest to highest; dotted vertical lines: drops of the rate; "
            "a dotted curve that ends in a cross diverged.",
            "Running training error and test error against iterations, a panel for each kind of net",
        )
    )
    differences = [table for table in view.differences if table is not None]
    if differences:
        blocks += [Heading("Differences"), *differences]
    twins = twin_sentences(comparison)
    if twins:
        blocks += [
            Heading("Twins"),
            Paragraph(
                "A plain net and its residual twin with option A should have the same parameters and, for one seed, "
                "the same initial values. What the records say:"
            ),
            Bullets(twins),
        ]
    control = find_control(comparison)
    if control is not None:
        blocks.append(Heading("Control: degradation, or too little training?"))
        blocks += [Paragraph(text) for text in control_words(control)]
        gaps = gap_table(control)
        blocks += [control_table(control), *([] if gaps is None else [gaps])]
        blocks.append(
            picture(
                "error-against-budget",
                plots.error_against_budget(control),
                f"Training error of {control.base.name} in eval mode against iterations, beside the nets it is "
                "compared with; a marker for each rate, a line for that of the main comparison. Mean and sample "
                "standard deviation; nets and rates stand side by side for legibility.",
                "Training error against iterations, a mark for each rate",
            )
        )
    return [*blocks, Heading("Cost"), cost_table(comparison)]


def _closing(runs: Runs, compared: tuple[Comparison, ...]) -> list[Element]:
    """How the numbers came about, where, and everything that is not in them."""
    blocks: list[Element] = [Heading("How each number came about"), Bullets(words.METHOD)]
    blocks += [Heading("Data and environment"), _environment(runs.complete)]
    in_order = [run for c in compared for variant in (*c.cells, *c.others) for run in variant.runs]
    blocks += [Heading("Runs"), runs_table(in_order)]
    apart = [
        f"{run.name}: diverged at step {count(run.record.diverged_at_step or 0)}."
        for run in runs.complete
        if run.diverged
    ]
    for unfinished in runs.unfinished:
        of = f" of {count(unfinished.iterations)}" if unfinished.iterations is not None else ""
        apart.append(f"{unfinished.name}: unfinished, {count(unfinished.step)}{of} iterations done; in no number here.")
    apart += runs.warnings
    blocks.append(Heading("Diverged, unfinished or damaged"))
    blocks.append(Bullets(tuple(apart)) if apart else Paragraph("None."))
    return blocks


def _environment(runs: Sequence[Run]) -> Table:
    """Every distinct value of what the runs ran on, and how many runs had it."""
    names = dict.fromkeys(name for run in runs for name in run.record.environment.versions)
    facts: dict[str, Callable[[Run], object]] = {
        "data": words.data_words,
        "data fingerprint": lambda run: run.record.data.fingerprint,
        "code": lambda run: run.record.environment.code,
        "device": lambda run: (
            f"{run.record.environment.devices} \N{MULTIPLICATION SIGN} {run.record.environment.device}"
        ),
        "platform": lambda run: run.record.environment.platform,
        "CPU cores": lambda run: run.record.environment.cpu_cores,
        "Python": lambda run: run.record.environment.python,
        **{name: lambda run, name=name: run.record.environment.versions.get(name, NOTHING) for name in names},  # type: ignore[misc]
        "XLA flags": lambda run: run.record.environment.xla_flags or "none",
    }
    rows = []
    for fact, value in facts.items():
        counted = Counter(str(value(run)) for run in runs)
        rows += [(fact if i == 0 else "", text, count(n)) for i, (text, n) in enumerate(sorted(counted.items()))]
    return Table("Distinct values over all runs with a record.", ("what", "value", "runs"), tuple(rows), text_columns=2)
