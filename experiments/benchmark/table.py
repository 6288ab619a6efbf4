"""From times to medians, ratios and shares; from records to tables. Nothing here imports JAX."""

from __future__ import annotations

import datetime
import itertools
import json
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.benchmark import input_table, processes_table
from experiments.benchmark.limits import MATMUL, asked
from experiments.benchmark.race import Outcome
from experiments.benchmark.spec import CONVOLVERS, OURS, Spec
from experiments.printed import Printed
from resnet_jax.config import ExperimentConfig
from resnet_jax.errors import UserError

SCHEMA = 1
NARROWEST = 130  # columns that the widest table takes
Row = dict[str, Any]


def new_record(command: str, **more: Any) -> dict[str, Any]:
    """The record of a command that begins to measure, to which results are added."""
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    head = {"schema": SCHEMA, "command": command, **more, "started": started}
    return {**head, "environment": {}, "limits": [], "results": []}


def platform(record: Mapping[str, Any]) -> str:
    """Where JAX computed, "cpu" or "gpu" (any accelerator); "cpu" where it did not."""
    return "cpu" if record["environment"].get("platform", "cpu") == "cpu" else "gpu"


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, by linear interpolation between the values."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def net_name(config: ExperimentConfig) -> str:
    """The net as the benchmark's options name it: "plain-56", "resnet-20"."""
    return f"{'plain' if config.model.is_plain else 'resnet'}-{config.model.depth}"


def images_name(spec: Spec) -> str:
    """Height, width and channels of the images, as in 8x8x1."""
    return "x".join(map(str, spec.image_shape))


def limits(specs: list[Spec], outcomes: list[Outcome]) -> list[Row]:
    """What libraries reached: multiply-adds or bytes per second, by their median times."""
    rows = []
    for spec, outcome in zip(specs, outcomes, strict=True):
        what, library = outcome.contestant.rsplit(", ", 1)
        dtype = spec.config.model.dtype
        row: Row = {"limit": what, "library": library, "dtype": dtype, "failed": outcome.failed}
        if not outcome.failed:
            _, median, _ = quartiles(outcome.seconds)
            row |= {"seconds": outcome.seconds, "per_second": outcome.facts["amount"] / median}
        rows.append(row)
    return rows


def ceiling(rows: list[Row], what: str, dtype: str) -> float | None:
    """The fastest that some library reached; None where it was not measured."""
    # For memory the measurement of any dtype will do: bytes are bytes.
    same = [row for row in rows if row["limit"] == what and (what != MATMUL or row["dtype"] == dtype)]
    return max((row["per_second"] for row in same if "per_second" in row), default=None)


def results(
    what: str, specs: list[Spec], outcomes: list[Outcome], peer: Outcome | None, measured: list[Row]
) -> list[Row]:
    """The rows of all contestants; arguments as for `result`."""
    pairs = zip(specs, outcomes, strict=True)
    return [result(what, spec, outcome, peer, measured) for spec, outcome in pairs]


def result(what: str, spec: Spec, outcome: Outcome, peer: Outcome | None, measured: list[Row]) -> Row:
    """One contestant's row of a record.

    Args:
      what: "step", "compile" or "epoch".
      spec: of the contestant.
      outcome: of the contestant.
      peer: to which ratios are taken, round by round; None: nobody ran whom they could be taken to.
      measured: the limits.
    """
    model, train = spec.config.model, spec.config.train
    row: Row = {
        "what": what,
        "net": net_name(spec.config),
        "contestant": outcome.contestant,
        "dtype": model.dtype,
        "batch_size": train.batch_size,
        "images": images_name(spec),
        "phase": spec.phase,
        "failed": outcome.failed,
    }
    if outcome.failed:
        return row
    low, median, high = quartiles(outcome.seconds)
    row |= {"seconds": outcome.seconds, "median": median, "quartiles": [low, high], **outcome.facts}
    if outcome.parts:
        row["parts"] = {part: {"seconds": s, "median": quartiles(s)[1]} for part, s in outcome.parts.items()}
    else:
        row |= {"images_per_second": train.batch_size / median, "loss": outcome.loss}
    if peer is not None and not peer.failed:
        low, middle, high = quartiles([a / b for a, b in zip(peer.seconds, outcome.seconds, strict=True)])
        row |= {"peer": peer.contestant, "ratio": middle, "ratio_quartiles": [low, high]}
    if what == "step":
        wants = asked(spec.config, spec.phase, spec.image_shape)
        for share, amount, limit in (
            ("share_of_products", wants.multiply_adds, ceiling(measured, MATMUL, model.dtype)),
            ("share_of_memory", wants.bytes, ceiling(measured, "memory", model.dtype)),
        ):
            if limit is not None:
                row[share] = amount / median / limit
    return row


def convolutions(found: Mapping[str, Mapping[str, list[float]]]) -> list[Row]:
    """The rows of a record for the times of single convolutions, with ratios taken round by round."""
    return [
        {
            "what": "convolution",
            "case": case,
            "seconds": times,
            "median": {side: statistics.median(values) for side, values in times.items()},
            "ratio": statistics.median(b / a for a, b in zip(*(times[side] for side in CONVOLVERS), strict=True)),
        }
        for case, times in found.items()
    ]


def printed(record: Mapping[str, Any]) -> list[Printed]:
    """All tables of a record."""
    tables = [_limits(record["limits"])] if record["limits"] else []
    steps = [row for row in record["results"] if row["what"] == "step"]
    for _, case in itertools.groupby(
        steps, lambda row: [row.get(k) for k in ("net", "images", "batch_size", "dtype", "phase")]
    ):
        tables.append(_steps(list(case)))
    for what, make in (("compile", _compiling), ("epoch", _epochs), ("convolution", _convolutions)):
        rows = [row for row in record["results"] if row["what"] == what]
        if rows:
            tables.append(make(rows))
    return tables + input_table.printed(record["results"]) + processes_table.printed(record["results"])


def _limits(rows: list[Row]) -> Printed:
    cells: list[tuple[str, ...]] = [
        (
            row["limit"],
            row["dtype"] if row["limit"] == MATMUL else "",
            row["library"],
            row["failed"] or f"{row['per_second'] / 1e9:,.1f}",
        )
        for row in rows
    ]
    title = "Limits of the device, 10^9 multiply-adds or bytes per second"
    return Printed(title, ("limit", "dtype", "library", "measured"), cells, words=3)


def _steps(rows: list[Row]) -> Printed:
    """The table of one case."""
    first = rows[0]
    images = f"{first['images']}, " if "images" in first else ""
    case = f"{first['net']}, {images}batch {first['batch_size']}, {first['dtype']}, {first['phase']} step"
    headings = ("contestant", "ms (quartiles)", "images/s", f"x {_peer(rows)}", "of products", "of memory")
    cells: list[tuple[str, ...]] = []
    for row in rows:
        if row["failed"]:
            cells.append((row["contestant"], "failed", *[""] * 6))
            continue
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
        shares = (_percent(row.get("share_of_products")), _percent(row.get("share_of_memory")))
        peak = row.get("device_peak_bytes", row.get("peak_resident_bytes"))
        compiler = row.get("compiler_temporary_bytes")
        if compiler is not None:
            compiler += row["compiler_argument_bytes"]
        numbers = (_spread(row, 1e3), f"{row['images_per_second']:,.0f}", ratio, *shares)
        cells.append((row["contestant"], *numbers, _megabytes(peak), _megabytes(compiler)))
    return Printed(f"{case}; shares are of the limits", (*headings, "peak MB", "compiler MB"), cells, words=1)


def _compiling(rows: list[Row]) -> Printed:
    headings = ("net", "contestant", "trace s", "lower s", "compile s", "total s (quartiles)", f"x {_peer(rows)}")
    shallowest: dict[str, Row] = {}
    cells: list[tuple[str, ...]] = []
    for row in rows:
        if row["failed"]:
            cells.append((row["net"], row["contestant"], "failed", *[""] * 5))
            continue
        first = shallowest.setdefault(row["contestant"], row)
        parts = [f"{row['parts'][part]['median']:.2f}" for part in ("trace", "lower", "compile")]
        growth = f"{row['median'] / first['median']:.2f} x {first['net']}"
        cells.append((row["net"], row["contestant"], *parts, _spread(row, 1.0), _ratio(row), growth))
    return Printed("Time until a train step can run", (*headings, "growth"), cells, words=2)


def _epochs(rows: list[Row]) -> Printed:
    cells: list[tuple[str, ...]] = []
    for row in rows:
        case = (str(row.get("data", row["net"])), row["contestant"])
        cells.append(
            (*case, "failed", "") if row["failed"] else (*case, f"{row['images_per_second']:,.0f}", _ratio(row))
        )
    return Printed("An epoch with its data", ("data", "loop", "images/s", f"x {_peer(rows)}"), cells, words=2)


def _convolutions(rows: list[Row]) -> Printed:
    """A line for each shape: ours in ms and how many times as long JAX's own takes, for each part and way."""
    shapes: dict[str, dict[str, str]] = {}
    for row in rows:
        shape, case = row["case"].split("; ", 1)
        shapes.setdefault(shape, {})[case] = f"{row['median'][OURS] * 1e3:,.2f} ({row['ratio']:.1f})"
    cases = list(next(iter(shapes.values())))
    cells = [(shape, *(found[case] for case in cases)) for shape, found in shapes.items()]
    title = "Convolutions: ms, and in brackets how many times as long JAX's own takes"
    return Printed(title, ("convolution", *(case.replace("; ", ", ") for case in cases)), cells, words=1)


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
    """All tables, on a terminal; beyond the width of a narrow one rather than with words cut off."""
    console.width = max(console.width, NARROWEST)
    for table in printed(record):
        console.print(table.rich())


def render(file: Path) -> str:
    """A record's machine, command and tables in Markdown.

    Raises:
      UserError: not a record of this command.
      OSError: it cannot be read.
    """
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        machine = record["environment"]
        if record["schema"] != SCHEMA:
            raise UserError(f"{file}: a record of schema {record['schema']!r}; legal: {SCHEMA}.")
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
    """A command without `--out`: where its record was written does not matter to who repeats it."""
    return re.sub(r" --out[ =]\S+", "", command)
