"""The tables at the end of a check."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.benchmark import table

FIGURES = ("step", "alone", "batch", "dispatch", "report", "kernels")


def show(record: Mapping[str, Any], console: Console) -> None:
    """Prints the tables of float32 arithmetic, of tests, of the time of a step, and of the benchmark."""
    console.width = max(console.width, table.NARROWEST)
    for made in (_precision(record), _tests(record), _breakdown(record)):
        if made.row_count:
            console.print(made)
    table.show(record, console)


def _precision(record: Mapping[str, Any]) -> Table:
    made = Table("operation", "precision asked for", "relative error", "arithmetic", title="float32 on this device")
    for row in record["device"].get("precision", {}).get("float32", []):
        made.add_row(row["operation"], row["precision"], f"{row['error']:.1e}", row["arithmetic"])
    return made


def _tests(record: Mapping[str, Any]) -> Table:
    made = Table("test", "outcome", "why", title="Tests on this device")
    for row in record["tests"]:
        made.add_row(row["name"].rpartition("/")[2], row["status"], row["message"])
    return made


def _breakdown(record: Mapping[str, Any]) -> Table:
    headings = ("net", "batch", "dtype", "steps a dispatch", *FIGURES, "kernels in a step")
    made = Table(*headings, title="Where a train step's time goes, ms")
    for row in record["breakdown"]:
        times = ["" if row[name] is None else f"{1e3 * row[name]:.3f}" for name in FIGURES]
        case = (row["net"], str(row["batch_size"]), row["dtype"], str(row["steps_per_dispatch"]))
        made.add_row(*case, *times, f"{row['kernel_count']:,.0f}")
    return made
