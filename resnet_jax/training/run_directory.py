"""The run directory: locked by one process while a run writes it, and complete when it has a record."""

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
    """A locked run directory, as a context manager. The lock ends with the process in any case."""

    def __init__(self, path: Path, config: ExperimentConfig) -> None:
        """Locks `path` for a run of `config`; makes it if it does not exist.

        Raises:
          UserError: it has a run of another configuration.
          Busy: another process has locked it.
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
        # The partial file of a killed process.
        for name in (CONFIG_FILE, METRICS_FILE, GRADIENTS_FILE, RECORD_FILE):
            for part in self.path.glob(f".{name}.*"):
                part.unlink()
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            raise UserError(
                f"{self.checkpoints}: is a file, but the folder of checkpoints must be there; move it away."
            )
        config_file = self.path / CONFIG_FILE
        if config_file.exists():
            others = differences(read_config(config_file), config)
            if others:
                raise UserError(
                    f"{self.path}: holds a run of another configuration ({'; '.join(others)}: "
                    f"there, asked for); choose another directory, or delete this one to run anew."
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
        """Marks the begin of training; from here on, a new directory is kept."""
        self._fresh = False
        TAKEN_BACK.pop(self, None)

    def abandon(self) -> None:
        """Removes what this object wrote into a new directory; an older directory is not changed."""
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
        """The record, if the run has finished.

        Raises:
          UserError: it cannot be read, or is of another configuration or of other data.
        """
        file = self.path / RECORD_FILE
        record = read_record(file) if file.exists() else None
        if record is None:
            return None
        others = differences(record.config, self.config)
        if others:
            self.abandon()
            found = "; ".join(others)
            raise UserError(f"{file}: a record of another configuration ({found}: in the record, and asked for).")
        problem = other_inputs(record, self.config)
        if problem:
            self.abandon()
            raise UserError(f"{file}: {problem}; choose another directory, or delete this one to run anew.")
        return record

    def finish(self, record: RunRecord) -> None:
        """Writes the record, which marks the run as finished."""
        write_atomically(self.path / RECORD_FILE, record_to_json(record))

    def rewind_metrics(self, step: int, epoch_ends: Sequence[int]) -> None:
        """Removes the lines of metrics after `step`, which a resumed run writes again.

        Args:
          step: the number of completed steps.
          epoch_ends: the steps, up to `step`, that must have a line.

        Raises:
          UserError: the lines up to `step` are not those of `epoch_ends`.
        """
        file = self.path / METRICS_FILE
        kept = [line for line in read_metrics(file) if line.step <= step] if file.exists() else []
        _rewind(file, kept, epoch_ends, step)

    def rewind_gradients(self, step: int, taken: Sequence[int]) -> None:
        """Removes the lines of gradients after `step`, as `rewind_metrics` does for metrics.

        Args:
          step: the number of completed steps.
          taken: the steps, before `step`, that must have a line.

        Raises:
          UserError: the lines before `step` are not those of `taken`.
        """
        file = self.path / GRADIENTS_FILE
        kept = [line for line in read_gradients(file) if line.step < step] if file.exists() else []
        _rewind(file, kept, taken, step)

    def append_metrics(self, line: MetricsLine) -> None:
        """Adds a line to metrics.jsonl; returns when it is on the disk, so that a later checkpoint agrees with the
        file."""
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
            # After a line that a crash cut short, the next line must begin on its own.
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                file.write(b"\n")
            file.write(_json_line(values).encode())
            file.flush()
            os.fsync(file.fileno())


def other_inputs(record: RunRecord, config: ExperimentConfig) -> str:
    """How the inputs of a finished run differ from those of `config` on this machine; empty if they agree.

    The fingerprints of the data, and of the file of a pretrained net, are compared, because paths say nothing about
    content. If `config` has the paths of the record and nothing can be read there, the record counts.
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
    """Checks that the kept lines are those of the expected steps, and rewrites the file with them."""
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
