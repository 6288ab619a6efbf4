"""Numbers within sentences. A run is named STUDY/RUN without its seed, and then stands for all its seeds.

Errors and their differences are in per cent, with two decimals where a marker asks for no other number of them.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

from experiments.passages.records import RECORDS, errors, finals, records
from resnet_jax.record import METRICS_FILE, read_metrics
from resnet_jax.reports.stats import Difference, Summary, paired_difference
from resnet_jax.reports.text import MINUS, listed, sided


def error(run: str, split: str = "train", decimals: str = "2") -> str:
    """Mean and sample standard deviation over seeds: "54.63 ± 7.30"."""
    found = Summary(tuple(errors(run, split).values()))
    return _percent(found.mean, decimals) + ("" if found.std is None else f" ± {_percent(found.std, decimals)}")


def mean_error(run: str, split: str = "train", decimals: str = "2") -> str:
    """Mean over seeds: "54.63"."""
    return _percent(statistics.fmean(errors(run, split).values()), decimals)


def apart(left: str, right: str, split: str = "train", decimals: str = "2") -> str:
    """How far two nets lie apart, by seed: the mean, or with two seeds both: "61.90 and 60.40"."""
    found, _ = sided(_difference(left, right, split))
    return listed([_percent(value, decimals) for value in (found.values if found.too_few_pairs else (found.mean,))])


def mean_apart(left: str, right: str, split: str = "train", decimals: str = "2") -> str:
    """The mean of how far they lie apart, however few the seeds are."""
    return _percent(abs(_difference(left, right, split).mean), decimals)


def least_apart(left: str, right: str, split: str = "train", decimals: str = "1") -> str:
    """How far they lie apart with the seed that has them closest."""
    return _percent(min(map(abs, _difference(left, right, split).values)), decimals)


def interval(left: str, right: str, split: str = "train", decimals: str = "1") -> str:
    """The 95 % t-interval of how far they lie apart: "45.6 to 63.7"."""
    found, _ = sided(_difference(left, right, split))
    if found.interval is None:
        raise ValueError("too few seeds for an interval")
    return f"{_percent(found.interval.low, decimals)} to {_percent(found.interval.high, decimals)}"


def change_apart(left: str, right: str, before: str, beside: str) -> str:
    """By how much `left` minus `right` differs from `before` minus `beside`, with each seed, in training error."""
    now, then = _difference(left, right).values, _difference(before, beside).values
    return listed([_percent(abs(a - b)) for a, b in zip(now, then, strict=True)])


def images_apart(left: str, right: str, images: str) -> str:
    """How far two nets lie apart in wrong training images of so many, with each seed: "2 and 4"."""
    return listed([f"{abs(int(images) * value):.0f}" for value in _difference(left, right).values])


def most_images(study: str, net: str, images: str) -> str:
    """The wrong training images, of so many, of the worst run of one kind of net in a study."""
    ended = [record.final for record in records(study) if record.config.model.net == net]
    return f"{max(int(images) * final.train_error for final in ended if final is not None):.0f}"


def loss(run: str, decimals: str = "2") -> str:
    """Mean training loss of the net of the last step, in nats."""
    return f"{statistics.fmean(final.train_loss for final in finals(run).values()):.{int(decimals)}f}"


def learned(run: str, first: str, last: str) -> str:
    """Points of running training error that a net lost between two iterations, mean over seeds."""
    found = []
    for file in sorted(RECORDS.glob(f"{run}-seed[0-9]*/{METRICS_FILE}")):
        by_step = {line.step: line.running_error for line in read_metrics(file)}
        found.append(by_step[int(first)] - by_step[int(last)])
    return _percent(statistics.fmean(found), "1")


def cost(what: str, study: str) -> str:
    """What runs took: their number ("runs"), those "interrupted", "hours" of all, or minutes of the "longest"."""
    found = records(study)
    seconds = [record.cost.total_s for record in found]
    return {
        "runs": f"{len(found)}",
        "interrupted": f"{sum(len(record.sessions) > 1 for record in found)}",
        "hours": f"{sum(seconds) / 3600:.1f}",
        "longest": f"{max(seconds) / 60:.0f}",
    }[what]


def recomputed(split: str) -> str:
    """The largest change of an error by recomputed batch statistics, in points; `split` is "train" or "test"."""
    rows = [row[f"{split}_error"] for row in _json("recomputed")["rows"]]
    return _percent(max(abs(row["recomputed"] - row["running"]) for row in rows), "1")


def imported_error() -> str:
    """The error of the published net that was imported."""
    return _percent(_json("imported")["error"])


def compile_growth() -> str:
    """Time to compile ResNet-1202's step over that of ResNet-20's."""
    shallow, deep = _json("benchmark-1202")["results"]
    assert (shallow["net"], deep["net"]) == ("resnet-20", "resnet-1202")
    return f"{deep['median'] / shallow['median']:.2f}"


def speed(record: str, net: str, contestant: str) -> str:
    """How many times as fast as its peer a contestant's train step is."""
    return f"{_steps(record, 'train')[net, contestant]['ratio']:.2f}"


def over_flax(record: str, phase: str, decimals: str, *nets: str) -> str:
    """How many times as fast as Flax's this project's step is, least to most over nets; medians of the rounds."""
    rows, ratios = _steps(record, phase), []
    for net in nets:
        ours, flax = (rows[net, name]["seconds"] for name in ("resnet_jax", "flax"))
        ratios.append(statistics.median(b / a for a, b in zip(ours, flax, strict=True)))
    return " to ".join(f"{ratio:.{int(decimals)}f}" for ratio in (min(ratios), max(ratios)))


def peak_memory(record: str, row: str) -> str:
    """Most resident memory of the process of a record's row, in GB; rows count from 1."""
    return f"{_json(f'benchmark-{record}')['results'][int(row) - 1]['peak_resident_bytes'] / 1e9:.1f}"


KINDS = (
    *(
        error,
        mean_error,
        apart,
        mean_apart,
        least_apart,
        interval,
        change_apart,
        images_apart,
        most_images,
        loss,
        learned,
    ),
    *(cost, recomputed, imported_error, compile_growth, speed, over_flax, peak_memory),
)


def _percent(fraction: float, decimals: str = "2") -> str:
    text = f"{100.0 * fraction:.{int(decimals)}f}"
    return ("0." + "0" * int(decimals) if float(text) == 0.0 and "." in text else text).replace("-", MINUS)


def _difference(left: str, right: str, split: str = "train") -> Difference:
    found = paired_difference(errors(left, split), errors(right, split))
    if found is None:
        raise ValueError("no seed in common")
    return found


def _json(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _steps(record: str, phase: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of a benchmark by net and contestant."""
    rows = _json(f"benchmark-{record}")["results"]
    return {(row["net"], row["contestant"]): row for row in rows if row["phase"] == phase}
