"""Finds run directories and reads them: what finished, what did not, and what is damaged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from resnet_jax.config import ExperimentConfig, to_dict
from resnet_jax.errors import UserError
from resnet_jax.record import (
    CONFIG_FILE,
    METRICS_FILE,
    RECORD_FILE,
    STUDY_FILE,
    MetricsLine,
    RunRecord,
    ends_half_written,
    read_config,
    read_json,
    read_metrics,
    read_record,
)

# A folder of studies holds studies, which hold runs: two steps down, and no wandering through a whole disk.
LEVELS = 2


@dataclass(frozen=True)
class Run:
    """A run with a record: it finished, or it diverged."""

    directory: Path
    record: RunRecord
    metrics: tuple[MetricsLine, ...]
    """Empty where metrics.jsonl is missing or damaged."""

    @property
    def name(self) -> str:
        """Study and run, as the record says them."""
        return f"{self.record.study}/{self.record.run}"

    @property
    def seed(self) -> int:
        """The seed of the run's configuration."""
        return self.record.config.seed

    @property
    def diverged(self) -> bool:
        """Whether the loss stopped being a finite number."""
        return self.record.final is None

    @property
    def train_error(self) -> float:
        """Fraction wrong of all training examples, eval mode, net of the last step. Of finished runs alone."""
        assert self.record.final is not None
        return self.record.final.train_error

    @property
    def test_error(self) -> float:
        """Fraction wrong of all test examples, eval mode, net of the last step. Of finished runs alone."""
        assert self.record.final is not None
        return self.record.final.test_error

    @property
    def running_error(self) -> float | None:
        """Training error while the net changed, of the metrics' last line; None where that line is missing."""
        final = self.record.final
        if final is None or not self.metrics or self.metrics[-1].step != final.step:
            return None
        return self.metrics[-1].running_error


@dataclass(frozen=True)
class Unfinished:
    """A run directory without a record."""

    directory: Path
    step: int
    """Iterations that its metrics show."""
    iterations: int | None
    """Iterations it was to have; None where its configuration cannot be read."""

    @property
    def name(self) -> str:
        """Study and run, by the names of the directories."""
        return f"{self.directory.resolve().parent.name}/{self.directory.resolve().name}"


@dataclass(frozen=True)
class Runs:
    """Everything that was found."""

    complete: tuple[Run, ...]
    """With a record, each configuration and seed once."""
    unfinished: tuple[Unfinished, ...]
    warnings: tuple[str, ...]
    """Sentences about what could not be used."""
    order: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The place of a run's name in its study, where the study's folder says it; the first is of the baseline."""
    missing: tuple[str, ...] = ()
    """Study and run of those that a study's folder lists and that have not begun."""


def read_runs(paths: Sequence[Path]) -> Runs:
    """The runs under some directories, each a run, a study, or a folder of studies.

    A damaged file costs its own run and nothing else: it ends up in `warnings`.

    Raises:
      UserError: a path is no directory, or there is no run at all under any of them.
    """
    complete: list[Run] = []
    unfinished: list[Unfinished] = []
    warnings: list[str] = []
    directories = _run_directories(paths)
    for directory in directories:
        if (directory / RECORD_FILE).exists():
            record = _or_warn(lambda: read_record(directory / RECORD_FILE), warnings)  # noqa: B023  # called at once
            if record is not None:
                metrics = _or_warn(lambda: read_metrics(directory / METRICS_FILE), warnings)  # noqa: B023
                complete.append(Run(directory, record, tuple(metrics or ())))
                ended = record.final is None or [line.step for line in metrics or ()][-1:] == [record.final.step]
                if metrics is not None and (not ended or ends_half_written(directory / METRICS_FILE)):
                    warnings.append(
                        f"{directory / METRICS_FILE}: its last line is missing or half-written, though the run has "
                        f"finished; the curves end before it, the results in {RECORD_FILE} do not depend on it."
                    )
        else:
            unfinished.append(_unfinished(directory, warnings))
    if not directories:
        where = ", ".join(map(str, paths))
        raise UserError(f"{where}: no runs here; a run directory holds a {CONFIG_FILE} or a {RECORD_FILE}.")
    order, missing = _listed(directories, warnings)
    return Runs(_each_once(complete, warnings), tuple(unfinished), tuple(warnings), order, missing)


def _listed(directories: Sequence[Path], warnings: list[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The runs of each study in its order, as the study's folder lists them in study.json, and those not begun."""
    names: list[str] = []
    missing: list[str] = []
    for folder in dict.fromkeys(directory.resolve().parent for directory in directories):
        if (folder / STUDY_FILE).exists():
            content = _or_warn(lambda: read_json(folder / STUDY_FILE), warnings)  # noqa: B023
            listed = [str(name) for name in (content or {}).get("runs", ())]
            names += listed
            missing += [f"{folder.name}/{name}" for name in listed if not (folder / name).is_dir()]
    return {name: place for place, name in enumerate(dict.fromkeys(names))}, tuple(missing)


def configuration_key(config: ExperimentConfig) -> str:
    """The whole configuration as one string, equal where the configurations are."""
    return json.dumps(to_dict(config), sort_keys=True)


def _run_directories(paths: Sequence[Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: no such directory; give a run, a study such as runs/digits-depth, or a folder.")
        for directory in _search(path, LEVELS):
            # A run under two of the arguments is the same run.
            found.setdefault(directory.resolve(), directory)
    return list(found.values())


def _search(directory: Path, levels: int) -> Iterable[Path]:
    if (directory / CONFIG_FILE).exists() or (directory / RECORD_FILE).exists():
        yield directory
    elif levels:
        try:
            inside = sorted(p for p in directory.iterdir() if p.is_dir() and not p.name.startswith("."))
        except OSError as error:
            raise UserError(f"{directory}: cannot be read ({error.strerror}).") from error
        for child in inside:
            yield from _search(child, levels - 1)


def _unfinished(directory: Path, warnings: list[str]) -> Unfinished:
    config = _or_warn(lambda: read_config(directory / CONFIG_FILE), warnings)
    metrics = None
    if (directory / METRICS_FILE).exists():
        metrics = _or_warn(lambda: read_metrics(directory / METRICS_FILE), warnings)
    return Unfinished(directory, metrics[-1].step if metrics else 0, config.train.iterations if config else None)


def _each_once(runs: list[Run], warnings: list[str]) -> tuple[Run, ...]:
    """The first of those runs that share configuration, seed and data; a copy whose result differs is told of."""
    kept: dict[tuple[str, str], Run] = {}
    for run in runs:
        first = kept.setdefault((configuration_key(run.record.config), run.record.data.fingerprint), run)
        if first is not run and first.record.final != run.record.final:
            warnings.append(
                f"{run.directory}: same configuration, seed and data as {first.directory} but another result; "
                f"only the latter is counted."
            )
    return tuple(kept.values())


_T = TypeVar("_T")


def _or_warn(read: Callable[[], _T], warnings: list[str]) -> _T | None:
    try:
        return read()
    except UserError as error:
        warnings.append(str(error))
        return None
