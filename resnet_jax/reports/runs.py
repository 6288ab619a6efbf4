"""Finds and reads run directories with finished, unfinished or damaged runs."""

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

# Number of levels of folders to search: a folder of studies contains studies, and a study contains runs.
LEVELS = 2


@dataclass(frozen=True)
class Run:
    """A run with a record. It has finished or diverged."""

    directory: Path
    record: RunRecord
    metrics: tuple[MetricsLine, ...]
    """Lines of metrics.jsonl; empty if the file is missing or damaged."""

    @property
    def name(self) -> str:
        """Name of the study and the run from the record, such as "digits-depth/plain-56-seed0"."""
        return f"{self.record.study}/{self.record.run}"

    @property
    def seed(self) -> int:
        """The seed of the run's configuration."""
        return self.record.config.seed

    @property
    def diverged(self) -> bool:
        """Whether the run ended early because its loss was not finite."""
        return self.record.final is None

    @property
    def train_error(self) -> float:
        """Training error, a fraction, in eval mode after the last step. The run must have finished."""
        assert self.record.final is not None
        return self.record.final.train_error

    @property
    def test_error(self) -> float:
        """Test error, a fraction, in eval mode after the last step. The run must have finished."""
        assert self.record.final is not None
        return self.record.final.test_error

    @property
    def running_error(self) -> float | None:
        """Training error of the last epoch, a fraction, measured in train mode during training; None without
        metrics."""
        final = self.record.final
        if final is None or not self.metrics or self.metrics[-1].step != final.step:
            return None
        return self.metrics[-1].running_error


@dataclass(frozen=True)
class Unfinished:
    """A run directory without a record."""

    directory: Path
    step: int
    """Number of completed iterations, from its metrics."""
    iterations: int | None
    """Number of iterations of the whole run; None if the configuration cannot be read."""

    @property
    def name(self) -> str:
        """Name of the study and the run, from the names of the directories."""
        return f"{self.directory.resolve().parent.name}/{self.directory.resolve().name}"


@dataclass(frozen=True)
class Runs:
    """The runs that `read_runs` found, with warnings about files that could not be read."""

    complete: tuple[Run, ...]
    """Runs with a record; each configuration and seed occurs once."""
    unfinished: tuple[Unfinished, ...]
    warnings: tuple[str, ...]
    """Sentences about files that could not be used."""
    order: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Position of each run in its study, by the run's name, from study.json. The first run belongs to the baseline."""
    missing: tuple[str, ...] = ()
    """Names of the runs that study.json lists but that have no directory, such as "digits-depth/plain-56-seed0"."""


def read_runs(paths: Sequence[Path]) -> Runs:
    """Reads all runs in the given directories: run directories, folders of one study, or folders of several studies.

    A damaged file affects only its own run, and adds a sentence to `warnings`.

    Raises:
      UserError: a path is no directory, or no directory contains a run.
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
                        f"{directory / METRICS_FILE}: the last line is missing or half-written, although the run has "
                        f"finished; the curves end early, but the results in {RECORD_FILE} are complete."
                    )
        else:
            unfinished.append(_unfinished(directory, warnings))
    if not directories:
        where = ", ".join(map(str, paths))
        raise UserError(f"{where}: no runs here; a run directory holds a {CONFIG_FILE} or a {RECORD_FILE}.")
    order, missing = _listed(directories, warnings)
    return Runs(_each_once(complete, warnings), tuple(unfinished), tuple(warnings), order, missing)


def _listed(directories: Sequence[Path], warnings: list[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Reads each study.json: the position of each run in its study, and the names of runs without a directory."""
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
    """Returns the whole configuration as a string. Equal configurations give equal strings."""
    return json.dumps(to_dict(config), sort_keys=True)


def _run_directories(paths: Sequence[Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(
                f"{path}: no such directory; legal: a run directory, or a folder of runs such as runs/digits-depth."
            )
        for directory in _search(path, LEVELS):
            # Two arguments may contain the same run.
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
    """Keeps the first run for each configuration and data set, and warns if a copy has another result."""
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
