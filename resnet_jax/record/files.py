"""Reads and writes the record of a run and its JSONL files, and compares configurations."""

from __future__ import annotations

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
"""Fields with the location of the images. They do not distinguish runs: the data's fingerprint does."""


def read_record(path: Path) -> RunRecord:
    """Reads a record from a file.

    Raises:
      UserError: the file cannot be read, is cut short, or has another schema; the message names the file.
    """
    return record_from(read_json(path), path)


def record_from(values: dict[str, Any], path: Path) -> RunRecord:
    """Builds a record from the values of the record.json at `path`; raises the same errors as `read_record`."""
    if values.get("schema", SCHEMA) != SCHEMA:
        raise UserError(f"{path}: a record of schema {values['schema']}, not {SCHEMA}; {OTHER_VERSION}.")
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
            raise ValueError(f"status {record.status!r} does not fit the rest")
        if record.final is not None:
            _check_final(record.final, record.data)
        return record
    except UserError as error:  # a field or a value that this version lacks
        said = str(error).rstrip(".?")
        raise UserError(f"{path}: not a record of this version ({said}); {OTHER_VERSION}.") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not a run record ({error}); move it away to run this run again.") from error


def record_to_json(record: RunRecord) -> str:
    """The text of record.json."""
    values = dataclasses.asdict(record) | {"config": to_dict(record.config)}
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def read_metrics(path: Path) -> list[MetricsLine]:
    """Reads the lines of a metrics.jsonl; skips a last line that a crash has cut short.

    Raises:
      UserError: the file is missing, or a line that is not the last is damaged.
    """
    return _read_lines(path, MetricsLine)


def read_gradients(path: Path) -> list[GradientLine]:
    """Reads the lines of a gradients.jsonl; same rules and errors as `read_metrics`."""
    return _read_lines(path, GradientLine)


def ends_half_written(path: Path) -> bool:
    """Whether the last line of a metrics.jsonl or gradients.jsonl is cut short: a complete line ends with a newline."""
    return path.exists() and not _read_text(path).endswith("\n")


def read_config(path: Path) -> ExperimentConfig:
    """Reads a configuration from a config.json.

    Raises:
      UserError: the file is missing or damaged, or has fields that this version does not know.
    """
    values = read_json(path, "delete the run directory to run anew")
    try:
        return from_dict(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_json(path: Path, advice: str = "put back the whole file, or delete it") -> dict[str, Any]:
    """Reads the JSON object in a file; `advice` ends the error message about a damaged file.

    Raises:
      UserError: the file cannot be read or does not hold one JSON object.
    """
    try:
        values = json.loads(_read_text(path), parse_constant=_refuse)
    except ValueError as error:
        raise UserError(f"{path}: damaged or half-written ({error}); {advice}.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no JSON object; {advice}.")
    return values


def differences(a: ExperimentConfig, b: ExperimentConfig) -> list[str]:
    """The fields in which two runs differ, as "name: a's value, b's value".

    The comparison ignores `operational` fields, fields without effect in both runs, and the location of the images
    (`PLACES`); a caller that needs equal data compares the fingerprints. Milestones and warm-up are compared in
    iterations, even if a configuration gives them as fractions.
    """
    a, b = a.in_iterations(), b.in_iterations()
    left, right, free = flatten(to_dict(a)), flatten(to_dict(b)), (a.operational & b.operational) | PLACES
    free |= a.without_effect().keys() & b.without_effect().keys()
    names = (name for name in left if name not in free and left[name] != right[name])
    return [f"{name}: {left[name]!r}, {right[name]!r}" for name in names]


def _refuse(constant: str) -> None:
    """Rejects NaN and infinity: they are not JSON, but Python's parser accepts them."""
    raise ValueError(f"{constant} is no number")


def _check_final(final: Final, data: DataFacts) -> None:
    """Checks that the results are possible, such as errors from 0 to 1."""
    for name in ("train_error", "test_error"):
        if not 0.0 <= getattr(final, name) <= 1.0:
            raise ValueError(f"{name} is {getattr(final, name)}, no fraction between 0 and 1")
    for name in ("train_examples", "test_examples"):
        if getattr(final, name) != getattr(data, name):
            raise ValueError(f"{name} is {getattr(final, name)}, but the data set has {getattr(data, name)}")


def _with_sessions(values: Any) -> dict[str, Any]:
    """Renames fields of earlier versions, which called sessions sittings."""
    return {"sessions" if name == "sittings" else name: value for name, value in _mapping(values).items()}


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return value


def _part(cls: type[T], values: Any) -> T:
    """Builds one part of a record, such as `Cost`, and checks the types of its values."""
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
        raise UserError(f"{path}: damaged, not text.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
