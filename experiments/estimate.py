"""Estimates how long the runs of a sweep take, from the records on the disk. This module does not import JAX.

| finished runs              | the estimate for a run                                                                  |
|----------------------------|-----------------------------------------------------------------------------------------|
| same net with other seeds  | the mean time of these runs                                                             |
| only other nets            | the time of the finished run whose work is nearest, scaled                              |
| none                       | a share of the study's stated cost, in proportion to the work                           |

The work of a run is multiply-adds per image x batch size x iterations. To scale the time of a finished run, its seconds
of training and evaluation are multiplied by the ratio of the two runs' work; its other seconds stay the same.
"""

import contextlib
import dataclasses
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from experiments.study import CORE, GPU, StatedCost, Study, about
from resnet_jax.config import ExperimentConfig
from resnet_jax.errors import UserError
from resnet_jax.models import cost
from resnet_jax.record import METRICS_FILE, RECORD_FILE, RunRecord, differences, read_metrics, read_record
from resnet_jax.text import plural
from resnet_jax.training.run_directory import other_inputs

TRAINING = 3
"""Cost of a training step in forward passes: the forward pass, and the two gradients of each product."""
DECODED = 935
"""Images of 0.18 megapixels that one CPU core reads, decodes and crops to 224 pixels per second; measured in
experiments/records/benchmark-input.json."""
_CLASSES = 10  # for unknown data; the last layer is a small part of the work


@dataclass(frozen=True)
class Estimate:
    """The estimated remaining time of some runs, each with the share of the machine that its time was measured with."""

    seconds: Mapping[str, float]
    """Remaining seconds of each unfinished run, by name of the run."""
    source: str
    """The origin of the estimate, for messages, such as "from 5 finished runs"."""

    def left(self, processes: int) -> float:
        """Seconds until all runs have finished, if each of the processes always takes the longest remaining run."""
        busy = [0.0] * processes
        for seconds in sorted(self.seconds.values(), reverse=True):
            heapq.heapreplace(busy, busy[0] + seconds)
        return max(busy)


class Clock:
    """Estimates how long the runs of a study take, from the records in the folder of the study."""

    def __init__(self, study: Study, folder: Path, *, gpu: bool = False) -> None:
        """Makes a clock for the runs in a folder. It reads their records at each estimate.

        Args:
          study: the study as its file defines it, without changes of the command line.
          folder: folder of the run directories; it need not exist yet.
          gpu: whether this machine has a GPU; if not, a cost that is stated for a GPU is not used.
        """
        self._study, self._folder, self._gpu = study, folder, gpu

    def estimate(self, runs: Mapping[str, ExperimentConfig]) -> Estimate | None:
        """Estimates the remaining time of each run that has no record; None if there is no basis for an estimate."""
        records = self._records()
        left = {name: config for name, config in runs.items() if not _is_of(records.get(name), config)}
        seen = [record for record in records.values() if record.final is not None]
        if seen:
            found = {name: self._left_of(name, config, *of_records(config, seen)) for name, config in left.items()}
            source = f"from {plural(len(seen), 'finished run')}"
        elif self._study.cost is not None and (self._gpu or self._study.cost.on != GPU):
            # The study's own configuration, because the command line may have changed the work.
            whole = sum(map(work, self._study.runs().values()))
            shares = {name: self._study.cost.seconds * work(config) / whole for name, config in left.items()}
            found = {name: self._left_of(name, left[name], share, share) for name, share in shares.items()}
            source = f"from the stated cost, {self._study.cost.text} for the whole study"
        else:
            return None
        return Estimate(found, source)

    def took(self, runs: Mapping[str, ExperimentConfig]) -> dict[str, float]:
        """The seconds that each finished run took, by name of the run."""
        records = self._records()
        return {name: records[name].cost.total_s for name, config in runs.items() if _is_of(records.get(name), config)}

    def by_speed_seen(self, name: str, config: ExperimentConfig) -> float | None:
        """Estimates the remaining seconds of an unfinished run from the finished runs of the study.

        Returns None if no run has finished.
        """
        seen = [record for record in self._records().values() if record.final is not None]
        return self._left_of(name, config, *of_records(config, seen)) if seen else None

    def _records(self) -> dict[str, RunRecord]:
        """The records of all runs in the folder, whatever their seed and configuration."""
        records = {}
        for file in sorted(self._folder.glob(f"*/{RECORD_FILE}")):
            with contextlib.suppress(UserError):  # a damaged record is reported when its run is started
                records[file.parent.name] = read_record(file)
        return records

    def _left_of(self, name: str, config: ExperimentConfig, seconds: float, steps_s: float) -> float:
        """Estimates the remaining seconds of a run: `seconds` minus the time of the training steps already done.

        Setup and evaluation are never subtracted, because a resumed run repeats them.

        Args:
          name: name of the run.
          config: configuration of the run.
          seconds: estimated seconds of the whole run.
          steps_s: estimated seconds of all its training steps.
        """
        file = self._folder / name / METRICS_FILE
        with contextlib.suppress(UserError):
            lines = read_metrics(file) if file.exists() else []
            done = min(1.0, lines[-1].step / config.train.iterations) if lines else 0.0
            return seconds - done * steps_s
        return seconds


def _is_of(record: RunRecord | None, config: ExperimentConfig) -> bool:
    """Whether a record belongs to a run of `config` on the same data."""
    return record is not None and not differences(record.config, config) and not other_inputs(record, config)


def of_records(config: ExperimentConfig, records: Sequence[RunRecord]) -> tuple[float, float]:
    """Estimates the seconds of a run, and of its training steps alone, from the records of finished runs."""
    alike = [r for r in records if not differences(dataclasses.replace(r.config, seed=config.seed), config)]
    if alike:
        return fmean(r.cost.total_s for r in alike), fmean(r.cost.train_s for r in alike)

    def times(record: RunRecord) -> float:
        data = record.data
        return work(config, data.image_shape, data.num_classes) / work(
            record.config, data.image_shape, data.num_classes
        )

    nearest = min(records, key=lambda record: abs(math.log(times(record))))
    with_work_s = nearest.cost.train_s + nearest.cost.eval_s
    return nearest.cost.total_s + (times(nearest) - 1.0) * with_work_s, times(nearest) * nearest.cost.train_s


def work(config: ExperimentConfig, image_shape: cost.Shape | None = None, num_classes: int = _CLASSES) -> float:
    """Multiply-adds of all training steps of a run.

    Args:
      config: the configuration of the run.
      image_shape: (height, width, channels); None: the usual shape for this kind of net.
      num_classes: number of classes if the configuration does not give one.
    """
    model = dataclasses.replace(config.model, num_classes=config.model.num_classes or num_classes)
    side = config.data.image_size or (224 if config.model.family == "imagenet" else 32)
    usual = (8, 8, 1) if config.data.source == "digits" else (side, side, 3)
    net = cost.total(model, image_shape or usual)
    return float(TRAINING * net.multiply_adds * config.train.batch_size * config.train.iterations)


def decoding(runs: Mapping[str, ExperimentConfig]) -> str:
    """A sentence on how long it takes to decode the images of runs that stream from disk; "" without such runs."""
    streamed = [config.train for config in runs.values() if config.data.streamed]
    if not streamed:
        return ""
    images = sum(train.iterations * train.batch_size for train in streamed)
    return (
        f"To decode all {images:.2g} training images takes {about(images / DECODED)} of {CORE}, at {DECODED} images "
        f"per second and core (to measure your machine: python -m experiments.benchmark --what input). A device that "
        f"computes N images/s needs N / {DECODED} cores."
    )


def progress(
    runs: Mapping[str, ExperimentConfig],
    finished: int,
    estimate: Estimate | None,
    processes: int,
    cost: StatedCost | None = None,
    *,
    at_once: int | None = None,
) -> str:
    """A sentence such as "5 of 16 runs finished, 11 to go: about 4 min left (from 5 finished runs).".

    Args:
      runs: all runs of the sweep, by name.
      finished: number of finished runs.
      estimate: the time that the other runs take; None: unknown.
      processes: number of processes that share the runs.
      cost: the stated cost of the whole study, printed if `estimate` is None; None: the study states no cost.
      at_once: number of CPU cores, because more processes than cores are not faster; None: no such limit.
    """
    if finished == len(runs):
        return f"All {len(runs)} runs finished."
    counts = f"{finished} of {len(runs)} runs finished, {len(runs) - finished} to go"
    if estimate is None:
        stated = f" (the whole study is stated to take {cost.text})" if cost else ""
        return f"{counts}; the time that they take is not known yet{stated}."
    each = f" with {processes} processes" if processes > 1 else ""
    left = estimate.left(min(processes, at_once or processes))
    return f"{counts}: about {about(left)} left{each} ({estimate.source})."
