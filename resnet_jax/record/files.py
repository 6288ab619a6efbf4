"""Reads and writes the record of a run and its JSONL files, and compares configurations."""

import dataclasses
import functools
import json
import typing
from pathlib import Path
from typing import Any, TypeVar

from resnet_jax.config import ExperimentConfig, flatten, from_dict, to_dict
from resnet_jax.config.section import typed
from resnet_jax.errors import UserError
from resnet_jax.record.schema import (
    SCHEMA,
    Cost,
    DataFacts,
    Environment,
    Final,
    GradientLine,
    MetricsLine,
    RunRecord,
    Session,
    Start,
)

T = TypeVar("T")

_hints = functools.cache(typing.get_type_hints)
OTHER_VERSION = "read it with the version that wrote it"
PLACES = frozenset(ExperimentConfig.fields_where(lambda role: role.of == "place"))
"""Fields with the location of the images. Runs that differ only in these fields are the same run: the fingerprint
identifies the data."""


def read_record(path: Path) -> RunRecord:
    """Reads a record from a record.json.

    Raises:
      UserError: the file cannot be read, is incomplete, or has another schema. The message names the file.
    """
    return record_from(read_json(path), path)


def record_from(values: dict[str, Any], path: Path) -> RunRecord:
    """Builds a record from the values in the record.json at `path`. Raises UserError as `read_record` does."""
    if values.get("schema", SCHEMA) != SCHEMA:
        raise UserError(f"{path}: the record has schema {values['schema']}, legal here: {SCHEMA}; {OTHER_VERSION}.")
    try:
        values = _with_sessions(values)
        final = values["final"]
        parts = {
            "config": from_dict(_mapping(values["config"])),
            "data": _part(DataFacts, values["data"] | {"image_shape": tuple(values["data"]["image_shape"])}),
            "final": None if final is None else _part(Final, final),
            "environment": _part(Environment, values["environment"]),
            "cost": _part(Cost, _with_sessions(values["cost"])),
            "start": _part(Start, values["start"]) if values.get("start") else None,
            "sessions": tuple(_part(Session, session) for session in values.get("sessions", ())),
        }
        record = _part(RunRecord, values | parts)
        finished = record.final is not None and record.diverged_at_step is None
        diverged = record.final is None and record.diverged_at_step is not None
        if not {"finished": finished, "diverged": diverged}[record.status]:
            raise ValueError(f"status {record.status!r} contradicts final and diverged_at_step")
        if record.final is not None:
            _check_final(record.final, record.data)
        return record
    except UserError as error:  # a field or a value that this version lacks
        said = str(error).rstrip(".?")
        raise UserError(f"{path}: this version cannot read the record ({said}); {OTHER_VERSION}.") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not a run record ({error}); move it away to repeat the run.") from error


def record_to_json(record: RunRecord) -> str:
    """Returns the text of the record.json for a record."""
    values = dataclasses.asdict(record) | {"config": to_dict(record.config)}
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def read_metrics(path: Path) -> list[MetricsLine]:
    """Reads all lines of a metrics.jsonl. A crash can leave an incomplete last line, which is skipped.

    Raises:
      UserError: the file is missing, or a line before the last is damaged.
    """
    return _read_lines(path, MetricsLine)


def read_gradients(path: Path) -> list[GradientLine]:
    """Reads the lines of a gradients.jsonl, with the rules and errors of `read_metrics`."""
    return _read_lines(path, GradientLine)


def ends_half_written(path: Path) -> bool:
    """Whether the last line of a metrics.jsonl or gradients.jsonl is incomplete, without a newline at its end."""
    return path.exists() and not _read_text(path).endswith("\n")


def read_config(path: Path) -> ExperimentConfig:
    """Reads a configuration from a config.json.

    Raises:
      UserError: the file is missing or damaged, or contains a field that this version does not know.
    """
    values = read_json(path, "delete the run directory to run anew")
    try:
        return from_dict(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_json(path: Path, advice: str = "put back the whole file, or delete it") -> dict[str, Any]:
    """Reads a file that contains one JSON object. The advice ends the error message about a damaged file.

    Raises:
      UserError: the file cannot be read, or its content is not one JSON object.
    """
    try:
        values = json.loads(_read_text(path), parse_constant=_refuse)
    except ValueError as error:
        raise UserError(f"{path}: damaged or half-written ({error}); {advice}.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no JSON object; {advice}.")
    return values


def differences(a: ExperimentConfig, b: ExperimentConfig) -> list[str]:
    """Lists the fields in which two configurations differ, as "name is A, not B"; see `differing`."""
    return [f"{name} is {left!r}, not {right!r}" for name, (left, right) in differing(a, b).items()]


def differing(a: ExperimentConfig, b: ExperimentConfig) -> dict[str, tuple[Any, Any]]:
    """The fields in which two configurations differ, by dotted name: the value of `a` and the value of `b`.

    Operational fields and the location of the images are ignored. A field that has no effect in either configuration is
    ignored too. The data sets themselves are not compared. Milestones and warm-up are compared in iterations, even if
    they are given as fractions.
    """
    a, b = a.in_iterations(), b.in_iterations()
    left, right, free = flatten(to_dict(a)), flatten(to_dict(b)), (a.operational & b.operational) | PLACES
    free |= a.without_effect().keys() & b.without_effect().keys()
    return {name: (left[name], right[name]) for name in left if name not in free and left[name] != right[name]}


def _refuse(constant: str) -> None:  # JSON has no NaN and no infinity, but Python's parser accepts them
    raise ValueError(f"{constant} is not a JSON number")


def _check_final(final: Final, data: DataFacts) -> None:
    for name in ("train_error", "test_error"):
        if not 0.0 <= getattr(final, name) <= 1.0:
            raise ValueError(f"{name} is {getattr(final, name)}, legal: 0 to 1")
    for name in ("train_examples", "test_examples"):
        if getattr(final, name) != getattr(data, name):
            raise ValueError(f"{name} is {getattr(final, name)}, but the data set has {getattr(data, name)}")


def _with_sessions(values: Any) -> dict[str, Any]:
    """Renames the field `sittings`, which earlier versions wrote, to `sessions`."""
    return {"sessions" if name == "sittings" else name: value for name, value in _mapping(values).items()}


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not a JSON object")
    return value


def _part(cls: type[T], values: Any) -> T:
    """Builds a part of a record, such as `Cost`, after checking the types of its values."""
    for name, hint in _hints(cls).items():  # type: ignore[arg-type]  # a class is hashable
        if name not in _mapping(values) and hasattr(cls, name):
            continue  # an earlier version wrote the record; the default applies
        try:
            typed(name, hint, values[name])
        except UserError as error:
            raise TypeError(str(error).rstrip(".")) from None
    return cls(**values)


def _read_lines(path: Path, cls: type[T]) -> list[T]:
    texts = _read_text(path).splitlines()
    lines: list[T] = []
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(_part(cls, json.loads(text)))
        except (ValueError, TypeError, KeyError) as error:
            if number == len(texts):
                break
            raise UserError(f"{path}: line {number} is damaged ({error}).") from error
    return lines


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8; it may be damaged.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
