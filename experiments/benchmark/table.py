"""Makes tables from benchmark records, for a terminal and in Markdown. This module does not import JAX."""

import itertools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.benchmark.limits import MATMUL
from experiments.benchmark.results import CALL, FEED, LAYOUT, LOADER, SCHEMA, STAGE, Row
from experiments.benchmark.spec import OURS
from experiments.printed import Printed
from resnet_jax.errors import UserError

NARROWEST = 130  # width of the widest table, in columns
CASE = ("net", "images", "batch_size", "dtype", "phase")


def printed(record: Mapping[str, Any]) -> list[Printed]:
    tables = [_limits(record["limits"])] if record["limits"] else []
    steps = [row for row in record["results"] if row["what"] == "step"]
    for _, case in itertools.groupby(steps, lambda row: [row.get(name) for name in CASE]):
        tables.append(_steps(list(case)))
    for what, make in MAKERS.items():
        if rows := [row for row in record["results"] if row["what"] == what]:
            tables.append(make(rows))
    return tables


def _limits(rows: list[Row]) -> Printed:
    cells = []
    for row in rows:
        measured = row["failed"] or f"{row['per_second'] / 1e9:,.1f}"
        cells.append((row["limit"], row["dtype"] if row["limit"] == MATMUL else "", row["library"], measured))
    title = "Limits of the device, 10^9 multiply-adds or bytes per second"
    return Printed(title, ("limit", "dtype", "library", "measured"), cells, words=3)


def _steps(rows: list[Row]) -> Printed:
    first, cells = rows[0], []
    images = f"{first['images']}, " if "images" in first else ""
    case = f"{first['net']}, {images}batch {first['batch_size']}, {first['dtype']}, {first['phase']} step"
    for row in rows:
        numbers = ["failed", *[""] * 6]
        if not row["failed"]:
            numbers = [_spread(row, 1e3), f"{row['images_per_second']:,.0f}"]
            numbers += [f"{row['ratio']:.2f}" if "ratio" in row else ""]
            numbers += [_percent(row.get("share_of_products")), _percent(row.get("share_of_memory"))]
            numbers += [_megabytes(row.get("device_peak_bytes", row.get("peak_resident_bytes")))]
            temporary = row.get("compiler_temporary_bytes")
            numbers += ["" if temporary is None else _megabytes(temporary + row["compiler_argument_bytes"])]
        cells.append((row["contestant"], *numbers))
    headings = ("contestant", "ms (quartiles)", "images/s", f"x {_peer(rows)}", "of products", "of memory")
    return Printed(f"{case}; shares are of the limits", (*headings, "peak MB", "compiler MB"), cells, words=1)


def _compiling(rows: list[Row]) -> Printed:
    shallowest: dict[str, Row] = {}
    cells = []
    for row in rows:
        numbers = ["failed", *[""] * 5]
        if not row["failed"]:
            first = shallowest.setdefault(row["contestant"], row)
            numbers = [f"{row['parts'][part]['median']:.2f}" for part in ("trace", "lower", "compile")]
            growth = f"{row['median'] / first['median']:.2f} x {first['net']}"
            numbers += [_spread(row, 1.0), _ratio(row), growth]
        cells.append((row["net"], row["contestant"], *numbers))
    headings = ("net", "contestant", "trace s", "lower s", "compile s", "total s (quartiles)", f"x {_peer(rows)}")
    return Printed("Time until a train step can run", (*headings, "growth"), cells, words=2)


def _epochs(rows: list[Row]) -> Printed:
    cells = []
    for row in rows:
        numbers = ("failed", "") if row["failed"] else (f"{row['images_per_second']:,.0f}", _ratio(row))
        cells.append((str(row.get("data", row["net"])), row["contestant"], *numbers))
    return Printed("An epoch with its data", ("data", "loop", "images/s", f"x {_peer(rows)}"), cells, words=2)


def _convolutions(rows: list[Row]) -> Printed:
    """The table of convolutions: for each shape, our times in ms, and in brackets JAX's time divided by ours."""
    shapes: dict[str, dict[str, str]] = {}
    for row in rows:
        shape, case = row["case"].split("; ", 1)
        shapes.setdefault(shape, {})[case] = f"{row['median'][OURS] * 1e3:,.2f} ({row['ratio']:.1f})"
    cases = list(next(iter(shapes.values())))
    cells = [(shape, *(found[case] for case in cases)) for shape, found in shapes.items()]
    title = "Convolutions: ms, and in brackets how many times as long JAX's own takes"
    return Printed(title, ("convolution", *(case.replace("; ", ", ") for case in cases)), cells, words=1)


def _stages(rows: list[Row]) -> Printed:
    whole = sum(row["core_s"] for row in rows)
    cells = [(row["stage"], f"{1e3 * row['core_s']:.2f}", _percent(row["core_s"] / whole)) for row in rows]
    return Printed("One image, in one thread", ("stage", "ms", "share"), cells, words=1)


def _loaders(rows: list[Row]) -> Printed:
    rate, cells = rows[0]["device_rate"], []
    for row in rows:
        by_core, rates = row["images"] / row["core_s"], row["images"] / row["wall_s"]
        cells.append((row["loader"], f"{by_core:,.0f}", f"{rates:,.0f}", f"{rate / by_core:.1f}"))
    headings = ("loader", "images / core s", "images/s", f"cores for {rate:,.0f} images/s")
    return Printed(f"Random 224x224 crops, {rows[0]['cores']} cores", headings, cells, words=1)


def _feed(rows: list[Row]) -> Printed:
    cells = []
    for row in rows:
        memory = (row["resident_bytes"][0], row["resident_bytes"][-1], row["peak_resident_bytes"])
        taken = f"{row['consumer_rate']:,.0f} ({_percent(row['consumer_share'])})"
        what = (f"{row['batches']} of {row['batch_size']}", taken, f"{100 * row['waited']:.1f} %")
        cells.append((*what, *map(_megabytes, memory)))
    headings = ("batches", "images/s taken", "time waiting", "MB after a tenth", "MB at the end", "largest MB")
    return Printed("The feed alone, with a consumer that takes so many images/s", headings, cells, words=1)


def _layouts(rows: list[Row]) -> Printed:
    cells = []
    for row in rows:
        case = f"{row['net']}, {row['images']}, batch {row['batch_size']}, {row['dtype']}"
        rate = f"{row['batch_size'] / row['median']:,.0f}"
        cells.append((case, row["layout"], _spread(row, 1e3), rate, _ratio(row)))
    headings = ("case", "layout", "ms a step (quartiles)", "images/s", f"x {rows[0]['layout']}")
    return Printed("Train steps on two devices, under shard_map", headings, cells, words=2)


def _calls(rows: list[Row]) -> Printed:
    cells = []
    for row in rows:
        share = f"{100 * row['seconds'] / row['step']:.1g} %"
        cells.append((row["call"], f"{row['net']}, {row['images']}", f"{1e6 * row['seconds']:,.1f}", share))
    return Printed("How two processes agree", ("call", "beside a step of", "µs", "of that step"), cells, words=2)


MAKERS: dict[str, Callable[[list[Row]], Printed]] = {
    **{"compile": _compiling, "epoch": _epochs, "convolution": _convolutions},
    **{STAGE: _stages, LOADER: _loaders, FEED: _feed, LAYOUT: _layouts, CALL: _calls},
}
"""For each value of `what` in the rows: the function that makes a table from these rows."""


def _peer(rows: list[Row]) -> str:
    return next((row["peer"] for row in rows if "peer" in row), "peer")


def _spread(row: Row, unit: float) -> str:
    low, high = row["quartiles"]
    return f"{row['median'] * unit:,.1f} ({low * unit:,.1f} to {high * unit:,.1f})"


def _ratio(row: Row) -> str:
    if "ratio" not in row:
        return ""
    low, high = row["ratio_quartiles"]
    return f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:,.0f}"


def show(record: Mapping[str, Any], console: Console) -> None:
    """Prints all tables of a record.

    The tables may be `NARROWEST` characters wide even if the console is narrower, so that no word is cut.
    """
    console.width = max(console.width, NARROWEST)
    for table in printed(record):
        console.print(table.rich())


def render(file: Path) -> str:
    """Renders a record in Markdown: its command, machine, versions and tables.

    Raises:
      UserError: the file is not a record of the benchmark.
      OSError: the file cannot be read.
    """
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        machine = record["environment"]
        if record["schema"] != SCHEMA:
            raise UserError(f"{file}: got a record of schema {record['schema']!r}; legal: schema {SCHEMA}.")
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        head = (
            f"`{_without_out(record['command'])}`\n\n"
            f"{machine['device']}, {machine['cpu_cores']} CPU cores of {machine['processor']}; "
            f"{versions}; code {machine['code']}; {record['started']}.\n"
        )
        return "\n".join([head, *(table.markdown() for table in printed(record))])
    except UserError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UserError(f"{file}: not a record of python -m experiments.benchmark ({error!r}).") from error


def _without_out(command: str) -> str:
    """Removes `--out FILE` from a command, because a reader who repeats it does not need the option."""
    return re.sub(r" --out[ =]\S+", "", command)
