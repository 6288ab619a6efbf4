"""The content of a report on one comparison: its tables, figures, answer and training curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from resnet_jax.reports import fields, findings
from resnet_jax.reports.comparison import Comparison
from resnet_jax.reports.control import Control, find_control
from resnet_jax.reports.document import Picture, Table
from resnet_jax.reports.figures.curves import curve_panels, mean_curve, watched
from resnet_jax.reports.figures.errors import error_against_depth, error_against_field, error_by_line, error_by_row
from resnet_jax.reports.paper_table import PaperLines, against_the_first, find_lines, lines_headline, lines_table
from resnet_jax.reports.prose import data_words
from resnet_jax.reports.tables import error_table


@dataclass(frozen=True)
class View:
    """The content of a report on one comparison."""

    comparison: Comparison
    lines: PaperLines | None
    subject: str
    headline: str
    findings: Table | None
    table: Table
    figure: Picture | None
    draw: Callable[[], Figure]
    differences: Table | None
    control: Control | None

    @classmethod
    def of(cls, comparison: Comparison) -> View:
        """Makes the tables, the figure and the texts for a comparison."""
        lines, found = find_lines(comparison), findings.find(comparison)
        more = findings.find_more(comparison)
        subject, answer, table = _subject(comparison), findings.headline(comparison, found), error_table(comparison)
        if lines is not None:
            found, more = (), findings.differences(against_the_first(lines))
            subject, answer, table = lines.table.subject, lines_headline(lines), lines_table(lines)
        picture, draw = _figure(comparison, lines)
        data = data_words(comparison.cells[0].runs[0])
        rows, others = (findings.findings_table(each, data) if each else None for each in (found, more))
        shown = picture if len(comparison.cells) > 1 else None
        control = find_control(comparison)
        return cls(comparison, lines, subject, answer, rows, table, shown, draw, others, control)


def _subject(comparison: Comparison) -> str:
    if comparison.question == "depth":
        return "Degradation versus depth"
    if 1 <= len(comparison.varied) <= 2:
        return " and ".join(fields.word(name) for name in comparison.varied).capitalize()
    return "Ablation" if comparison.varied else "One net"


def _figure(comparison: Comparison, lines: PaperLines | None) -> tuple[Picture, Callable[[], Figure]]:
    last, bars = "Error of the net of the last step", "Mean over seeds, bars: sample standard deviation"
    single = f"{bars}, small open marks: single seeds. Diverged runs are left out of all means."
    if lines is not None:
        picture = Picture(
            "error-by-line",
            f"{last}, with a row for each line of {lines.table.source}, and the paper's rank in square brackets. "
            f"{bars}. Above the dashed line, a net fails.",
            "Training error and test error of each line of the paper's table",
        )
        return picture, lambda: error_by_line(lines)
    if comparison.question == "depth":
        picture = Picture(
            "error-against-depth",
            f"{last} against depth; training error in eval mode over all training examples. {single}",
            "Training error and test error against depth, a line for each kind of net",
        )
        return picture, lambda: error_against_depth(comparison)
    if comparison.axis is not None:
        what = fields.word(comparison.axis.field)
        stem, shown = f"error-against-{what.replace(' ', '-').lower()}", f"Training error and test error against {what}"
        return Picture(stem, f"{last} against {what}. {single}", shown), lambda: error_against_field(comparison)
    picture = Picture(
        "error-by-variant",
        "Left: error of the net of the last step, mean over seeds, bars: sample standard deviation, small strokes: "
        "single seeds. Right: variant minus baseline by seed, with the 95 % t-interval of the mean where there are "
        "three pairs or more; right of zero the variant is worse.",
        "Errors of each variant, and their differences from the baseline",
    )
    return picture, lambda: error_by_row(comparison)


def curve_data(comparison: Comparison, lines: PaperLines | None) -> dict[str, Any]:
    """The training curves as data for page.js. A point is [step, mean, lowest, highest] over seeds, in per cent."""

    def series(variant: Any, name: str) -> list[list[float]]:
        steps, runs = mean_curve(variant, name)
        columns = zip(*runs, strict=True)
        return [
            [step, round(sum(c) / len(c), 3), round(min(c), 3), round(max(c), 3)]
            for step, c in zip(steps, columns, strict=True)
        ]

    panels: list[dict[str, Any]] = [
        {
            "title": heading[:1].upper() + heading[1:],
            "series": [
                {
                    "label": curve.label,
                    "colour": curve.colour,
                    "train": series(curve.variant, "running_error"),
                    "test": series(curve.variant, f"{watched(curve.variant)}_error"),
                }
                for curve in curves
            ],
        }
        for heading, curves in curve_panels(comparison, lines).items()
    ]
    if not any(one["train"] or one["test"] for panel in panels for one in panel["series"]):
        return {}
    return {
        "panels": panels,
        "train": "running training error",
        "test": f"{watched(comparison.cells[0])} error",
        "hint": "Move the pointer over a panel to read the values; the boxes show and hide curves.",
    }
