"""The run directory. One process locks it while it trains; the run is complete when the directory has a record."""

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
    """A locked run directory: a context manager that releases the lock. The end of the process also releases it."""

    def __init__(self, path: Path, config: ExperimentConfig) -> None:
        """Locks the directory `path` for a run of `config`; makes it if it does not exist.

        Raises:
          UserError: the directory has a run of another configuration, or other files.
          Busy: another process has locked the directory.
          OSError: the directory cannot be made or written.
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
        # A killed process may have left partial files.
        for name in (CONFIG_FILE, METRICS_FILE, GRADIENTS_FILE, RECORD_FILE):
            for part in self.path.glob(f".{name}.*"):
                part.unlink()
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            raise UserError(
                f"{self.checkpoints}: is a file; legal: a folder of checkpoints, or nothing; move the file away."
            )
        config_file = self.path / CONFIG_FILE
        if config_file.exists():
            others = differences(read_config(config_file), config)
            if others:
                raise UserError(
                    f"{self.path}: holds a run of another configuration ({'; '.join(others)}); choose another "
                    f"directory, or delete this one to run anew."
                )
            return
        # A record alone is enough, because it has the configuration.
        strangers = sorted(p.name for p in self.path.iterdir() if p.name not in (LOCK_FILE, RECORD_FILE))
        if strangers:
            raise UserError(
                f"{self.path}: not empty and not a run directory (it has {strangers[0]!r} but no {CONFIG_FILE}); "
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
        """Ends the lock; nothing may be written after this."""
        TAKEN_BACK.pop(self, None)
        self._lock.close()

    def begin(self) -> None:
        """Marks the beginning of training; after this, `abandon` removes nothing."""
        self._fresh = False
        TAKEN_BACK.pop(self, None)

    def abandon(self) -> None:
        """Removes a new run directory, unless training has begun. Folders that existed before are kept."""
        TAKEN_BACK.pop(self, None)
        if self._fresh:
            for name in (CONFIG_FILE, LOCK_FILE):
                (self.path / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                for folder in self._made:
                    folder.rmdir()

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / CHECKPOINTS

    def record(self) -> RunRecord | None:
        """The record of a finished run; None if the run has not finished.

        Raises:
          UserError: the record cannot be read.
          UserError: the configuration, data or pretrained net in the record differ from those of this run.
        """
        file = self.path / RECORD_FILE
        record = read_record(file) if file.exists() else None
        if record is None:
            return None
        others = differences(record.config, self.config)
        if others:
            self.abandon()
            raise UserError(f"{file}: a record of another configuration ({'; '.join(others)}).")
        problem = other_inputs(record, self.config)
        if problem:
            self.abandon()
            raise UserError(f"{file}: {problem}; choose another directory, or delete this one to run anew.")
        return record

    def finish(self, record: RunRecord) -> None:
        """Writes the record, which marks the run as finished."""
        write_atomically(self.path / RECORD_FILE, record_to_json(record))

    def rewind_metrics(self, step: int, epoch_ends: Sequence[int]) -> None:
        """Removes the lines of metrics after `step`, because a resumed run writes them again.

        Args:
          step: number of completed steps.
          epoch_ends: steps up to `step` that must have exactly one line each; no other step up to `step` may have one.

        Raises:
          UserError: a line up to `step` is missing, or there is a line too many.
        """
        file = self.path / METRICS_FILE
        kept = [line for line in read_metrics(file) if line.step <= step] if file.exists() else []
        _rewind(file, kept, epoch_ends, step)

    def rewind_gradients(self, step: int, taken: Sequence[int]) -> None:
        """Removes the lines of gradients from `step` on, because a resumed run writes them again.

        Args:
          step: number of completed steps. Steps are counted from 0, so the last completed step is `step - 1`.
          taken: steps before `step` that must have exactly one line each; no other step before `step` may have one.

        Raises:
          UserError: a line before `step` is missing, or there is a line too many.
        """
        file = self.path / GRADIENTS_FILE
        kept = [line for line in read_gradients(file) if line.step < step] if file.exists() else []
        _rewind(file, kept, taken, step)

    def append_metrics(self, line: MetricsLine) -> None:
        """Adds a line to metrics.jsonl, and waits until the line is on the disk."""
        self._append(METRICS_FILE, asdict(line))

    def append_gradients(self, line: GradientLine) -> None:
        """Adds a line to gradients.jsonl, and waits until the line is on the disk."""
        self._append(GRADIENTS_FILE, asdict(line))

    def append_timing(self, **values: Any) -> None:
        """Adds a line to timings.jsonl."""
        self._append(TIMINGS_FILE, values)

    def timings(self) -> list[dict[str, Any]]:
        """The lines of timings.jsonl so far, without lines that a crash cut short."""
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
            # If a crash cut the last line short, the new line begins after a line break.
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                file.write(b"\n")
            file.write(_json_line(values).encode())
            file.flush()
            os.fsync(file.fileno())


def other_inputs(record: RunRecord, config: ExperimentConfig) -> str:
    """A phrase about how the inputs of a finished run differ from the inputs of `config`; empty if they agree.

    The comparison uses fingerprints of the data and of the pretrained net, because files may change under the same
    path. If the data cannot be read, their path is compared with the path in the record. A pretrained net that cannot
    be read counts as equal.
    """
    return _other_data(record, config) or _other_start(record, config)


def _other_data(record: RunRecord, config: ExperimentConfig) -> str:
    from resnet_jax.data import fingerprint

    try:
        found = fingerprint(config.data)
    except UserError as error:
        if record.config.data.path == config.data.path:
            return ""
        return f"a run on the data {record.config.data.path}; the data asked for cannot be compared with them ({error})"
    if found == record.data.fingerprint:
        return ""
    asked = config.data.path or "the data set"
    return f"a run on other data, with fingerprint {record.data.fingerprint}; the fingerprint of {asked} is {found}"


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
    return f"a run that started from another net, with digest {record.start.digest}; the digest of {file} is {found}"


@functools.cache
def _digest(file: str) -> str:
    from resnet_jax.weights import files

    origin = files.load(Path(file)).read_from
    assert origin is not None
    return origin.digest


def _rewind(file: Path, kept: Sequence[MetricsLine | GradientLine], expected: Sequence[int], step: int) -> None:
    """Checks that each expected step has exactly one kept line, and rewrites the file with the kept lines."""
    missing = sorted((Counter(expected) - Counter(line.step for line in kept)).elements())
    twice = sorted((Counter(line.step for line in kept) - Counter(expected)).elements())
    if missing or twice:
        what = (
            f"the line of step {missing[0]} is missing" if missing else f"there are too many lines of step {twice[0]}"
        )
        raise UserError(
            f"{file}: {what}, and the checkpoint is of step {step}; restore this file from a copy, or delete the run "
            f"directory and run again."
        )
    if file.exists():
        write_atomically(file, "".join(map(_json_line, map(asdict, kept))))


def _json_line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"
