"""Computes the rows of a benchmark record from times: medians, ratios, and fractions of the device's limits."""

import datetime
import statistics
from collections.abc import Mapping
from typing import Any

from experiments.benchmark.limits import MATMUL, work
from experiments.benchmark.race import Outcome
from experiments.benchmark.spec import CONVOLVERS, Spec
from resnet_jax.config import ExperimentConfig

SCHEMA = 1
Row = dict[str, Any]
STAGE, LOADER, FEED = "input stage", "input loader", "input feed"
"""Value of `what` in the rows of --what input."""
LAYOUT, CALL = "processes step", "processes call"
"""Value of `what` in the rows of --what processes."""


def new_record(command: str, **more: Any) -> dict[str, Any]:
    """Makes a record without results.

    Args:
      command: the command line.
      more: further facts about the command by name, such as its options.
    """
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    head = {"schema": SCHEMA, "command": command, **more, "started": started}
    return {**head, "environment": {}, "limits": [], "results": []}


def platform(record: Mapping[str, Any]) -> str:
    """The platform of a record: "gpu" for any accelerator; "cpu" for a CPU, and if the record names no platform."""
    return "cpu" if record["environment"].get("platform", "cpu") == "cpu" else "gpu"


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, by linear interpolation between the values."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def net_name(config: ExperimentConfig) -> str:
    """The name of a net in the benchmark: "plain-56", "resnet-20"."""
    return f"{'plain' if config.model.is_plain else 'resnet'}-{config.model.depth}"


def images_name(spec: Spec) -> str:
    """Height, width and channels of the images, such as "8x8x1"."""
    return "x".join(map(str, spec.image_shape))


def limits(specs: list[Spec], outcomes: list[Outcome]) -> list[Row]:
    """A row for each limit and library: the rate in multiply-adds or bytes per second, from the median time."""
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
    """The device's limit: the highest rate of any library, in multiply-adds or bytes per second.

    Returns None if the rate was not measured.

    Args:
      rows: the rows that `limits` returns.
      what: `MATMUL` or `COPY`, from experiments/benchmark/limits.py.
      dtype: dtype of the matrix products; it has no effect for `COPY`.
    """
    # For memory any dtype gives the same rate in bytes.
    same = [row for row in rows if row["limit"] == what and (what != MATMUL or row["dtype"] == dtype)]
    return max((row["per_second"] for row in same if "per_second" in row), default=None)


def result(what: str, spec: Spec, outcome: Outcome, peer: Outcome | None, measured: list[Row]) -> Row:
    """The row of one contestant in a record: median, quartiles, ratio to the peer, and fractions of the limits.

    Args:
      what: "step", "compile" or "epoch".
      spec: the contestant.
      outcome: the times of the contestant.
      peer: the times of the peer with which the contestant is compared; None: no ratio.
      measured: rows with the measured limits of the device; see limits.py.
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
        multiply_adds, traffic = work(spec.config, spec.phase, spec.image_shape)
        for share, amount, limit in (
            ("share_of_products", multiply_adds, ceiling(measured, MATMUL, model.dtype)),
            ("share_of_memory", traffic, ceiling(measured, "memory", model.dtype)),
        ):
            if limit is not None:
                row[share] = amount / median / limit
    return row


def convolutions(found: Mapping[str, Mapping[str, list[float]]]) -> list[Row]:
    """The rows for single convolutions: times, medians, and the median ratio of the time of JAX's convolution to ours.

    Args:
      found: {case: {library: seconds in each round}}, as experiments/benchmark/convolutions.py measures them.
    """
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
