"""Converts configurations to and from nested dictionaries, and changes fields by dotted name, as in "model.depth"."""

import dataclasses
import os
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from resnet_jax.config.experiment import ExperimentConfig
from resnet_jax.config.section import Section
from resnet_jax.errors import UserError
from resnet_jax.text import nearest

_T = TypeVar("_T", bound=Section)

# Fields of earlier versions, in old records, that changed no result.
_RETIRED = {"train.checkpoint_every"}


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """Converts a configuration to nested dictionaries for JSON; tuples become lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return list(value) if isinstance(value, tuple) else value

    result: dict[str, Any] = plain(dataclasses.asdict(config))
    return result


def from_dict(values: Mapping[str, Any]) -> ExperimentConfig:
    """Builds a configuration from nested dictionaries, as `to_dict` returns them; missing fields get their defaults.

    Raises:
      UserError: a field is unknown, or a value is illegal or of a wrong type.
    """
    return _build(ExperimentConfig, values, "")


def _build(cls: type[_T], values: Mapping[str, Any], prefix: str) -> _T:
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    built: dict[str, Any] = {}
    for name, value in values.items():
        if f"{prefix}{name}" in _RETIRED:
            continue
        if name not in names:
            raise UserError(f"{prefix}{name}: no such field; {nearest(name, names)}")
        hint = hints[name]
        if isinstance(hint, type) and issubclass(hint, Section) and isinstance(value, Mapping):
            value = _build(hint, value, f"{prefix}{name}.")
        built[name] = value
    return cls(**built)


def override(config: ExperimentConfig, changes: Mapping[str, Any]) -> ExperimentConfig:
    """Returns `config` with new values of some fields, by dotted name, as in `{"model.depth": 56}`.

    The result is checked as a whole. Other fields that no longer have an effect, or that depend on a changed field, get
    their defaults.

    Raises:
      UserError: a field is unknown, the values are illegal together, or a changed field has no effect.
    """
    new = _changed(config, changes)
    return settle(unbind(new, [name for name in changes if config.value(name) != new.value(name)]), chosen=changes)


def unbind(config: ExperimentConfig, changed: Collection[str], *, typed: Collection[str] = ()) -> ExperimentConfig:
    """Resets fields to their defaults if they depend on a field that has changed.

    For example, `data.path` is reset if `data.source` has changed.

    Args:
      config: the configuration after the changes.
      changed: dotted names of the fields whose values have changed.
      typed: dotted names of the fields that the user gave. They are not reset.

    Raises:
      UserError: the result is illegal. An example is `data.path` reset to None while `data.source` is "folder".
    """
    roles = config.roles().items()
    foreign = [name for name, role in roles if role.bound_to in changed and name not in {*changed, *typed}]
    return _changed(config, {name: config.default(name) for name in foreign})


def settle(config: ExperimentConfig, *, chosen: Collection[str]) -> ExperimentConfig:
    """Resets the fields that have no effect to their defaults.

    For example, `data.name` has no effect if the images are not from TFDS. If the user has changed such a field, a
    UserError is raised instead, because the record of the run would suggest that the field had an effect.

    Args:
      config: the configuration after the changes.
      chosen: dotted names of the fields that the user changed.

    Raises:
      UserError: a field in `chosen` has no effect, and its value is not the default.
    """
    config.require_effect(chosen)
    idle = {name: config.default(name) for name in config.without_effect()}
    return _changed(config, {name: value for name, value in idle.items() if config.value(name) != value})


def one_spelling(config: ExperimentConfig) -> ExperimentConfig:
    """Returns `config` with normalised paths: "x/" and "./x" become "x", and "~" becomes the home folder."""
    paths = {name: config.value(name) for name in config.fields_where(lambda role: role.is_path)}
    spelled = {name: os.path.normpath(os.path.expanduser(path)) for name, path in paths.items() if path}
    return _changed(config, {name: path for name, path in spelled.items() if path != paths[name]})


def changed_fields(before: ExperimentConfig, after: ExperimentConfig) -> dict[str, Any]:
    """The fields in which two configurations differ: {dotted name: value in `after`}."""
    old, new = flatten(to_dict(before)), flatten(to_dict(after))
    return {name: value for name, value in new.items() if value != old[name]}


def _changed(config: ExperimentConfig, changes: Mapping[str, Any]) -> ExperimentConfig:
    if not changes:
        return config
    values = to_dict(config)
    for name, value in changes.items():
        *sections, last = name.split(".")
        place: Any = values
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise UserError(f"{name}: no such field; {nearest(name, list(flatten(values)))}")
        place[last] = list(value) if isinstance(value, tuple) else value
    return from_dict(values)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested dictionaries: {"model": {"depth": 20}} becomes {"model.depth": 20}; names begin with `prefix`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
