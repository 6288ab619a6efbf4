"""Numbers within sentences of the documents, from the committed records.

The arguments are words in the marker of a document. The name STUDY/RUN, without a seed, means the runs of all seeds.
Errors and their differences are in per cent.
"""

import statistics
from typing import Any

from experiments.passages.records import RECORDS, content, errors, finals, records
from resnet_jax.record import METRICS_FILE, read_metrics
from resnet_jax.reports.stats import Difference, Summary, paired_difference
from resnet_jax.reports.text import MINUS, listed


def error(run: str, split: str = "train", decimals: str = "2") -> str:
    """Error of a net: mean and sample standard deviation over the seeds, such as "54.63 ± 7.30"."""
    found = Summary(tuple(errors(run, split).values()))
    return _percent(found.mean, decimals) + ("" if found.std is None else f" ± {_percent(found.std, decimals)}")


def mean_error(run: str, split: str = "train", decimals: str = "2") -> str:
    """Error of a net: mean over the seeds, such as "54.63"."""
    return _percent(statistics.fmean(errors(run, split).values()), decimals)


def apart(left: str, right: str, split: str = "train", decimals: str = "2") -> str:
    """Mean difference in error between two nets, paired by seed. With two seeds: the difference for each seed."""
    found = _upward(left, right, split)
    return listed([_percent(value, decimals) for value in (found.values if found.too_few_pairs else (found.mean,))])


def mean_apart(left: str, right: str, split: str = "train", decimals: str = "2") -> str:
    """Absolute value of the mean difference in error between two nets."""
    return _percent(abs(_difference(left, right, split).mean), decimals)


def least_apart(left: str, right: str, split: str = "train", decimals: str = "1") -> str:
    """Smallest absolute difference in error between two nets, over the pairs of runs with the same seed."""
    return _percent(min(map(abs, _difference(left, right, split).values)), decimals)


def interval(left: str, right: str, split: str = "train", decimals: str = "1") -> str:
    """95 % t-interval of the difference in error between two nets, such as "45.6 to 63.7"."""
    found = _upward(left, right, split)
    if found.interval is None:
        raise ValueError("too few seeds for an interval")
    return f"{_percent(found.interval.low, decimals)} to {_percent(found.interval.high, decimals)}"


def change_apart(left: str, right: str, before: str, beside: str) -> str:
    """For each seed, how much the difference in training error between two nets changes with the recipe.

    With one recipe, the runs of the two nets are `left` and `right`. With the other recipe, they are `before` and
    `beside`. A number is |(left - right) - (before - beside)|.
    """
    now, then = _difference(left, right).values, _difference(before, beside).values
    return listed([_percent(abs(a - b)) for a, b in zip(now, then, strict=True)])


def images_apart(left: str, right: str, images: str) -> str:
    """For each seed, the difference between two nets in the number of misclassified training images.

    For example, "2 and 4" means that the nets differ by 2 images with one seed, and by 4 images with the other seed.
    The training set has `images` images.
    """
    return listed([f"{abs(int(images) * value):.0f}" for value in _difference(left, right).values])


def most_images(study: str, net: str, images: str) -> str:
    """Largest number of misclassified training images in a run of the study.

    Only runs with one kind of net are considered. `net` is the name of this kind, such as "plain". The training set has
    `images` images.
    """
    ended = [record.final for record in records(study) if record.config.model.net == net]
    return f"{max(int(images) * final.train_error for final in ended if final is not None):.0f}"


def loss(run: str, decimals: str = "2") -> str:
    """Mean training loss over seeds, after the last step, in nats."""
    return f"{statistics.fmean(final.train_loss for final in finals(run).values()):.{int(decimals)}f}"


def learned(run: str, first: str, last: str) -> str:
    """Decrease of the training error from one iteration to a later one, in percentage points: the mean over seeds.

    The training error of an epoch is measured during training, on the training batches (`running_error`).
    """
    found = []
    for file in sorted(RECORDS.glob(f"{run}-seed[0-9]*/{METRICS_FILE}")):
        by_step = {line.step: line.running_error for line in read_metrics(file)}
        found.append(by_step[int(first)] - by_step[int(last)])
    return _percent(statistics.fmean(found), "1")


def cost(what: str, study: str) -> str:
    """A number of runs, or their time.

    Args:
      what: "runs": number of runs. "interrupted": number of interrupted runs. "hours": hours of all runs together.
        "longest": minutes of the longest run.
      study: name of the study.
    """
    found = records(study)
    seconds = [record.cost.total_s for record in found]
    return {
        "runs": f"{len(found)}",
        "interrupted": f"{sum(len(record.sessions) > 1 for record in found)}",
        "hours": f"{sum(seconds) / 3600:.1f}",
        "longest": f"{max(seconds) / 60:.0f}",
    }[what]


def recomputed(split: str) -> str:
    """Largest change of an error, in points, when batch statistics are recomputed; `split` is "train" or "test"."""
    rows = [row[f"{split}_error"] for row in content("recomputed")["rows"]]
    return _percent(max(abs(row["recomputed"] - row["running"]) for row in rows), "1")


def imported_error() -> str:
    """Test error of the published net that was imported."""
    return _percent(content("imported")["error"])


def compile_growth() -> str:
    """Time to compile the training step of ResNet-1202, divided by the time for ResNet-20."""
    shallow, deep = content("benchmark-1202")["results"]
    assert (shallow["net"], deep["net"]) == ("resnet-20", "resnet-1202")
    return f"{deep['median'] / shallow['median']:.2f}"


def speed(record: str, net: str, contestant: str) -> str:
    """Speed of the training step of `contestant`, divided by the speed of the reference program's step.

    A contestant is a program in a benchmark. The benchmark chooses one as the reference program, such as PyTorch.
    """
    return f"{_steps(record, 'train')[net, contestant]['ratio']:.2f}"


def over_flax(record: str, phase: str, decimals: str, *nets: str) -> str:
    """Speed of this project's step divided by the speed of a Flax net's step, such as "1.2 to 1.5".

    The ratio of each net is a median over the rounds of the benchmark. The text has the lowest and the highest ratio.
    """
    rows, ratios = _steps(record, phase), []
    for net in nets:
        ours, flax = (rows[net, name]["seconds"] for name in ("resnet_jax", "flax"))
        ratios.append(statistics.median(b / a for a, b in zip(ours, flax, strict=True)))
    return " to ".join(f"{ratio:.{int(decimals)}f}" for ratio in sorted({min(ratios), max(ratios)}))


def loader(*words: str) -> str:
    """Images that the loader with this name loads per second on one core, such as "ours" or "resize, then crop"."""
    (row,) = (row for row in content("benchmark-input")["results"] if row.get("loader") == " ".join(words))
    return f"{row['images'] / row['core_s']:,.0f}"


def peak_memory(record: str, row: str) -> str:
    """Peak resident memory in GB of the process that measured one row of a record. The first row is 1."""
    return f"{content(f'benchmark-{record}')['results'][int(row) - 1]['peak_resident_bytes'] / 1e9:.1f}"


def _percent(fraction: float, decimals: str = "2") -> str:
    text = f"{100.0 * fraction:.{int(decimals)}f}"
    return ("0." + "0" * int(decimals) if float(text) == 0.0 and "." in text else text).replace("-", MINUS)


def _difference(left: str, right: str, split: str = "train") -> Difference:
    found = paired_difference(errors(left, split), errors(right, split))
    if found is None:
        raise ValueError("no seed in common")
    return found


def _upward(left: str, right: str, split: str) -> Difference:
    found = _difference(left, right, split)  # becomes positive, unless two seeds have different signs
    keeps = found.mean >= 0.0 or (found.too_few_pairs and found.on_both_sides)
    return found if keeps else found.negated()


def _steps(record: str, phase: str) -> dict[tuple[str, str], dict[str, Any]]:
    rows = content(f"benchmark-{record}")["results"]
    return {(row["net"], row["contestant"]): row for row in rows if row["phase"] == phase}
