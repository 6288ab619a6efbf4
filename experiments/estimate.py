"""How long the runs of a sweep take, by the seconds in the records on the disk. Nothing here imports JAX.

A run takes as long as the same net took with other seeds. Where none of these has finished, it takes what the finished
run nearest in work took: set-up and compilation as they were, training and evaluation in proportion to the work, that
is multiply-adds times images times iterations. Where nothing has finished, the study's stated cost is shared out in
proportion to the work.
"""

from __future__ import annotations

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
from resnet_jax.training.run_directory import other_inputs

TRAINING = 3
"""A training step takes three forward passes: the forward pass and the two gradients of each product."""
DECODED = 935
"""Images of 0.18 megapixels that a core reads, decodes and crops to 224 pixels in a second, by
experiments/records/benchmark-input.json."""
_CLASSES = 10  # of a data set that no record tells of; the last layer is a small part of a net's work


@dataclass(frozen=True)
class Estimate:
    """The time that is left for some runs."""

    seconds: Mapping[str, float]
    """Seconds of each run that has not finished, by name. For an interrupted run, or one under way: what is left."""
    source: str
    """Where it comes from, for a reader."""

    def left(self, processes: int) -> float:
        """Seconds until all have finished, with so many processes that each take the longest run that is left."""
        busy = [0.0] * processes
        for seconds in sorted(self.seconds.values(), reverse=True):
            heapq.heapreplace(busy, busy[0] + seconds)
        return max(busy)


class Clock:
    """Estimates for the runs of a study in a folder, from what the folder holds at the time of asking."""

    def __init__(self, study: Study, folder: Path, *, gpu: bool = False) -> None:
        """A clock of a study whose run directories are in `folder`.

        Args:
          study: with the seeds, base and variants that its stated cost is for.
          folder: may not exist yet.
          gpu: whether this machine has one; a cost stated for a GPU says nothing of another.
        """
        self._study, self._folder, self._gpu = study, folder, gpu

    def estimate(self, runs: Mapping[str, ExperimentConfig]) -> Estimate | None:
        """The time left for those of `runs` that have no record; None where nothing is known of any."""
        records = self._records()
        left = {name: config for name, config in runs.items() if not _is_of(records.get(name), config)}
        seen = [record for record in records.values() if record.final is not None]
        if seen:
            found = {name: self._left_of(name, config, *of_records(config, seen)) for name, config in left.items()}
            source = f"from the {len(seen)} run{'s' * (len(seen) > 1)} that finished"
        elif self._study.cost is not None and (self._gpu or self._study.cost.on != GPU):
            # The study's own configuration: the command line may have changed the base, and with it the work.
            whole = sum(map(work, self._study.runs().values()))
            shares = {name: self._study.cost.seconds * work(config) / whole for name, config in left.items()}
            found = {name: self._left_of(name, left[name], share, share) for name, share in shares.items()}
            source = f"by the stated cost, {self._study.cost.text} for the whole study"
        else:
            return None
        return Estimate(found, source)

    def took(self, runs: Mapping[str, ExperimentConfig]) -> dict[str, float]:
        """Seconds of each of `runs` that has a record."""
        records = self._records()
        return {name: records[name].cost.total_s for name, config in runs.items() if _is_of(records.get(name), config)}

    def by_speed_seen(self, name: str, config: ExperimentConfig) -> float | None:
        """Seconds that are left of a run, which has no record; None where no run has finished."""
        seen = [record for record in self._records().values() if record.final is not None]
        return self._left_of(name, config, *of_records(config, seen)) if seen else None

    def _records(self) -> dict[str, RunRecord]:
        """The records of all runs in the folder. Other seeds and configurations too show this machine's speed."""
        records = {}
        for file in sorted(self._folder.glob(f"*/{RECORD_FILE}")):
            with contextlib.suppress(UserError):  # a damaged one is reported where its run is started
                records[file.parent.name] = read_record(file)
        return records

    def _left_of(self, name: str, config: ExperimentConfig, seconds: float, steps_s: float) -> float:
        """What is left of a run's seconds without the steps that its lines of metrics show as done.

        Set-up and evaluation are counted whole: an interrupted run has them before it, and one that is being run ends
        with an evaluation.
        """
        file = self._folder / name / METRICS_FILE
        with contextlib.suppress(UserError):
            lines = read_metrics(file) if file.exists() else []
            done = min(1.0, lines[-1].step / config.train.iterations) if lines else 0.0
            return seconds - done * steps_s
        return seconds


def _is_of(record: RunRecord | None, config: ExperimentConfig) -> bool:
    """Whether a record is that of a run of `config`, on the data that it names here."""
    return record is not None and not differences(record.config, config) and not other_inputs(record, config)


def of_records(config: ExperimentConfig, records: Sequence[RunRecord]) -> tuple[float, float]:
    """Seconds that a run takes, and those of them in training steps, by one finished run or more."""
    alike = [r for r in records if not differences(dataclasses.replace(r.config, seed=config.seed), config)]
    if alike:
        return fmean(r.cost.total_s for r in alike), fmean(r.cost.train_s for r in alike)

    def times(record: RunRecord) -> float:
        """The work of the run in units of the record's."""
        data = record.data
        return work(config, data.image_shape, data.num_classes) / work(
            record.config, data.image_shape, data.num_classes
        )

    nearest = min(records, key=lambda record: abs(math.log(times(record))))
    with_work_s = nearest.cost.train_s + nearest.cost.eval_s
    return nearest.cost.total_s + (times(nearest) - 1.0) * with_work_s, times(nearest) * nearest.cost.train_s


def work(config: ExperimentConfig, image_shape: cost.Shape | None = None, num_classes: int = _CLASSES) -> float:
    """Multiply-adds of a run's training steps.

    Args:
      config: of the run.
      image_shape: height, width, channels; None: a usual one for the configuration. The ratio of two nets' work depends
        little on it.
      num_classes: where the configuration does not say.
    """
    model = dataclasses.replace(config.model, num_classes=config.model.num_classes or num_classes)
    side = config.data.image_size or (224 if config.model.family == "imagenet" else 32)
    usual = (8, 8, 1) if config.data.source == "digits" else (side, side, 3)
    net = cost.total(model, image_shape or usual)
    return float(TRAINING * net.multiply_adds * config.train.batch_size * config.train.iterations)


def decoding(runs: Mapping[str, ExperimentConfig]) -> str:
    """How long the training images of streamed runs take to decode, in a sentence; empty where no run is streamed."""
    streamed = [config.train for config in runs.values() if config.data.streamed]
    if not streamed:
        return ""
    images = sum(train.iterations * train.batch_size for train in streamed)
    return (
        f"Decoding their {images:.2g} training images takes {about(images / DECODED)} of {CORE}, at {DECODED} images "
        f"for each second of a core (python -m experiments.benchmark --what input measures yours): a device that takes "
        f"N images/s needs N / {DECODED} cores."
    )


def progress(
    runs: Mapping[str, ExperimentConfig],
    finished: int,
    estimate: Estimate | None,
    processes: int,
    cost: StatedCost | None = None,
) -> str:
    """How far a sweep is, in a sentence: "5 of 16 runs finished, 11 to go: about 4 min left (from the 5 runs ...)"."""
    if finished == len(runs):
        return f"All {len(runs)} runs finished."
    counts = f"{finished} of {len(runs)} runs finished, {len(runs) - finished} to go"
    if estimate is None:
        stated = f" (the whole study is stated to take {cost.text})" if cost else ""
        return f"{counts}; how long they take here is not known yet{stated}."
    each = f" with {processes} processes" if processes > 1 else ""
    return f"{counts}: about {about(estimate.left(processes))} left{each} ({estimate.source})."
