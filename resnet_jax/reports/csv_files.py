"""CSV files of a report: runs.csv has one row per run, and table.csv has one row per variant."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from resnet_jax.config import flatten, to_dict
from resnet_jax.reports import fields
from resnet_jax.reports.comparison import MEASURES, Comparison
from resnet_jax.reports.runs import Run


def runs_csv(runs: Sequence[Run]) -> str:
    """Returns CSV with one row per run: results, cost, and every field of the configuration. Errors are fractions."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        record, final = run.record, run.record.final
        row: dict[str, Any] = {"study": record.study, "run": record.run, "status": record.status}
        row |= {
            "train_error": None if final is None else final.train_error,
            "running_error": run.running_error,
            "test_error": None if final is None else final.test_error,
            "train_loss": None if final is None else final.train_loss,
            "test_loss": None if final is None else final.test_loss,
            "diverged_at_step": record.diverged_at_step,
            "parameters": record.parameters,
            "multiply_adds": record.multiply_adds,
            "total_s": record.cost.total_s,
            "images_per_second": record.cost.images_per_second,
            "initial_fingerprint": record.initial_fingerprint,
            "data": record.data.name,
            "data_fingerprint": record.data.fingerprint,
        }
        rows.append(row | flatten(to_dict(record.config)))
    return _csv(rows)


def table_csv(comparisons: Sequence[Comparison]) -> str:
    """Returns CSV with one row per variant: the fields that differ between variants, and each error.

    Errors are fractions: mean and sample standard deviation over seeds. A single seed has no standard deviation.
    """
    rows: list[dict[str, Any]] = []
    for comparison in comparisons:
        for variant in (*comparison.cells, *comparison.others):
            row: dict[str, Any] = {
                "data": variant.runs[0].record.data.name,
                "net": variant.net,
                "depth": variant.depth,
                "iterations": variant.iterations,
                "learning_rate": variant.rate,
                "warmup": variant.config.optim.warmup,
                "finished": len(variant.finished),
                "diverged": variant.diverged,
            }
            flat = fields.values(variant.config)
            row |= {name: flat[name] for name in comparison.varied}
            row |= {
                "parameters": variant.runs[0].record.parameters,
                "multiply_adds": variant.runs[0].record.multiply_adds,
            }
            for name in MEASURES:
                summary = variant.summary(name)
                row[f"{name}_mean"] = None if summary is None else summary.mean
                row[f"{name}_std"] = None if summary is None else summary.std
            rows.append(row)
    return _csv(rows)


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    # Configurations of other versions may have other fields: a missing field gives an empty cell.
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
