"""The run directory as a run writes it: claimed by one process, continued after an interruption, closed by a record."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from resnet_jax.config import ExperimentConfig, to_dict
from resnet_jax.ending import TAKEN_BACK
from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically
from resnet_jax.record import (
    CHECKPOINTS,
    CONFIG_FILE,
    GRADIENTS_FILE,
    METRICS_FILE,
    RECORD_FILE,
    TIMINGS_FILE,
    GradientLine,
    MetricsLine,
    RunRecord,
    differences,
    read_config,
    read_gradients,
    read_metrics,
    read_record,
    record_to_json,
)

LOCK_FILE = ".lock"


class Busy(UserError):
    """Another process is running this run."""


class RunDirectory:
    """A claimed run directory, as a context manager; the claim ends with the process, however that ends."""

    def __init__(self, path: Path, config: ExperimentConfig) -> None:
        """Claims `path` for a run of `config`; makes it where it does not exist.

        Raises:
          UserError: it holds a run of another configuration.
          Busy: another process has claimed it.
          OSError: it cannot be made or written.
        """
        self.path, self.config, self._fresh = path, config, False
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = open(path / LOCK_FILE, "w")  # noqa: SIM115  # held until __exit__
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise Busy(f"{path}: another process is running this run.") from error
        try:
            self._check(config)
        except BaseException:
            self._lock.close()
            raise

    def _check(self, config: ExperimentConfig) -> None:
        # What a killed process left of a file that it was writing.
        for name in (CONFIG_FILE, METRICS_FILE, GRADIENTS_FILE, RECORD_FILE):
            for part in self.path.glob(f".{name}.*"):
                part.unlink()
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            raise UserError(f"{self.checkpoints}: in the way, a file where the folder of checkpoints should be.")
        config_file = self.path / CONFIG_FILE
        if config_file.exists():
            others = differences(read_config(config_file), config)
            if others:
                raise UserError(
                    f"{self.path}: holds a run of another configuration ({'; '.join(others)}: "
                    f"there, asked for); choose another directory, or delete this one to run anew."
                )
            return
        # A record alone will do: it carries its configuration.
        strangers = sorted(p.name for p in self.path.iterdir() if p.name not in (LOCK_FILE, RECORD_FILE))
        if strangers:
            raise UserError(
                f"{self.path}: not empty and no run directory (it holds {strangers[0]!r} but no {CONFIG_FILE}); "
                f"choose another directory."
            )
        write_atomically(config_file, json.dumps(to_dict(config), indent=1) + "\n")
        self._fresh = True
        TAKEN_BACK[self] = self.abandon

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Ends the claim; nothing may be written after it."""
        TAKEN_BACK.pop(self, None)
        self._lock.close()

    def begin(self) -> None:
        """Training begins: from here on a new directory stays."""
        self._fresh = False
        TAKEN_BACK.pop(self, None)

    def abandon(self) -> None:
        """Takes back what claiming a new directory left in it; one that was there before stays as it was."""
        TAKEN_BACK.pop(self, None)
        if self._fresh:
            for name in (CONFIG_FILE, LOCK_FILE):
                (self.path / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                for folder in self._made:
                    folder.rmdir()

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints go."""
        return self.path / CHECKPOINTS

    def record(self) -> RunRecord | None:
        """The record, where the run has finished.

        Raises:
          UserError: it cannot be read, or it is a record of another configuration or of other data.
        """
        file = self.path / RECORD_FILE
        record = read_record(file) if file.exists() else None
        if record is None:
            return None
        others = differences(record.config, self.config)
        if others:
            self.abandon()
            raise UserError(f"{file}: a record of another configuration ({'; '.join(others)}: there, asked for).")
        problem = other_inputs(record, self.config)
        if problem:
            self.abandon()
            raise UserError(f"{file}: {problem}; choose another directory, or delete this one to run anew.")
        return record

    def finish(self, record: RunRecord) -> None:
        """Writes the record: the run has finished."""
        write_atomically(self.path / RECORD_FILE, record_to_json(record))

    def rewind_metrics(self, step: int, epoch_ends: Sequence[int]) -> None:
        """Drops the lines of metrics after `step`, which a run that goes on from there will write again.

        Args:
          step: the steps done.
          epoch_ends: the steps up to there after which a line was written.

        Raises:
          UserError: the lines up to there are not those.
        """
        file = self.path / METRICS_FILE
        kept = [line for line in read_metrics(file) if line.step <= step] if file.exists() else []
        _rewind(file, kept, epoch_ends, step)

    def rewind_gradients(self, step: int, taken: Sequence[int]) -> None:
        """Drops the lines of gradients that later steps than `step` took, as `rewind_metrics` does with its lines.

        Args:
          step: the steps done.
          taken: the steps done before each gradient up to there that a line was written of.

        Raises:
          UserError: the lines up to there are not those.
        """
        file = self.path / GRADIENTS_FILE
        kept = [line for line in read_gradients(file) if line.step < step] if file.exists() else []
        _rewind(file, kept, taken, step)

    def append_metrics(self, line: MetricsLine) -> None:
        """Adds a line to metrics.jsonl; returns when it is on the disk, which a checkpoint that follows counts on."""
        self._append(METRICS_FILE, asdict(line))

    def append_gradients(self, line: GradientLine) -> None:
        """Adds a line to gradients.jsonl, as `append_metrics` does."""
        self._append(GRADIENTS_FILE, asdict(line))

    def append_timing(self, **values: Any) -> None:
        """Adds a line to timings.jsonl."""
        self._append(TIMINGS_FILE, values)

    def timings(self) -> list[dict[str, Any]]:
        """The lines of timings.jsonl so far; a line cut short by a crash is left out."""
        file = self.path / TIMINGS_FILE
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
        timings = []
        for line in lines:
            with contextlib.suppress(ValueError):
                values = json.loads(line)
                if isinstance(values, dict):
                    timings.append(values)
        return timings

    def _append(self, name: str, values: dict[str, Any]) -> None:
        with open(self.path / name, "a+b") as file:
            # A line that a crash cut short is not to swallow the next one.
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                file.write(b"\n")
            file.write(_json_line(values).encode())
            file.flush()
            os.fsync(file.fileno())


def other_inputs(record: RunRecord, config: ExperimentConfig) -> str:
    """How what a finished run read differs from what `config` names on this machine; empty where it does not.

    The data are read and their fingerprints compared, and so is the file of a pretrained net: the same path may hold
    something else on another machine, and another path the same. Where nothing can be read at the very place that the
    record names, there is nothing to compare with, and the record counts.
    """
    return _other_data(record, config) or _other_start(record, config)


def _other_data(record: RunRecord, config: ExperimentConfig) -> str:
    from resnet_jax.data import fingerprint

    try:
        found = fingerprint(config.data)
    except UserError as error:
        if record.config.data.path == config.data.path:
            return ""
        return f"a run on data of {record.config.data.path}, which cannot be compared with those asked for ({error})"
    if found == record.data.fingerprint:
        return ""
    return f"a run on other data, of fingerprint {record.data.fingerprint}; {config.data.path or 'here'} has {found}"


def _other_start(record: RunRecord, config: ExperimentConfig) -> str:
    file = config.finetune.weights
    if file is None or record.start is None:
        return ""
    try:
        found = _digest(file)
    except UserError:
        return ""
    if found == record.start.digest:
        return ""
    return f"a run that started from another net, of digest {record.start.digest}; {file} has {found}"


@functools.cache
def _digest(file: str) -> str:
    from resnet_jax.weights import files

    origin = files.load(Path(file)).read_from
    assert origin is not None
    return origin.digest


def _rewind(file: Path, kept: Sequence[MetricsLine | GradientLine], expected: Sequence[int], step: int) -> None:
    """Writes a file anew with the lines that are kept, once it is sure that they are of the steps expected."""
    missing = sorted((Counter(expected) - Counter(line.step for line in kept)).elements())
    twice = sorted((Counter(line.step for line in kept) - Counter(expected)).elements())
    if missing or twice:
        what = f"the line of step {missing[0]} is missing" if missing else f"a line of step {twice[0]} too many"
        raise UserError(
            f"{file}: {what}, and the checkpoint is of step {step}; bring the file back, or delete the run "
            f"directory to run anew."
        )
    if file.exists():
        write_atomically(file, "".join(map(_json_line, map(asdict, kept))))


def _json_line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"
