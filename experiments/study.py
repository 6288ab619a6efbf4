"""Studies. A study is a base configuration, variants of it that are compared, and seeds."""

import ast
import contextlib
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_jax.config import ExperimentConfig, flatten, override, to_dict
from resnet_jax.errors import UserError
from resnet_jax.files import short_digest
from resnet_jax.text import nearest

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class StatedCost:
    """The cost that the file of a study states: the total time of its runs, if they run one after another."""

    seconds: float
    on: str
    """The device that takes this time: `CORE` or `GPU`."""

    @property
    def text(self) -> str:
        """The cost in words, such as "24 min of one CPU core"."""
        return f"{about(self.seconds)} of {self.on}"


LONGEST_NAME = 200  # bytes of the name of a run, without seed and endings
CORE = "one CPU core"
GPU = "a GPU at 1e12 multiply-adds/s"
"""An assumption, not a measurement: 2e12 operations per second are 3 % of an NVIDIA H100's float32 peak."""


def about(seconds: float) -> str:
    """A duration in words, rounded: "45 s", "12 min", "3.5 h", "6.2 days"."""
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    if seconds < 90.0 * 60.0:
        return f"{seconds / 60.0:.0f} min"
    number, unit = (seconds / 3600.0, "h") if seconds < 48.0 * 3600.0 else (seconds / 86_400.0, "days")
    return f"{number:.1f} {unit}" if number < 20.0 else f"{number:.0f} {unit}"


@dataclass(frozen=True)
class Study:
    """The runs that answer one question: every variant with every seed."""

    name: str
    base: ExperimentConfig
    variants: tuple[Changes, ...]
    """For each variant its changes of `base`: {dotted field: value}."""
    seeds: tuple[int, ...] = (0, 1)
    cost: StatedCost | None = None
    """The time of all runs; None if unknown."""
    purpose: str = ""
    """The question of the study in a sentence. If empty, it is the first line of the study's file."""
    control: str | None = None
    """Name of the control study, which trains plain nets longer."""

    def runs(self, seeds: Sequence[int] | None = None) -> dict[str, ExperimentConfig]:
        """All runs by their unique names: the first variant with each seed, then the second variant, and so on."""
        runs: dict[str, ExperimentConfig] = {}
        for changes in self.variants:
            for seed in self.seeds if seeds is None else seeds:
                config = override(self.base, {**changes, "seed": seed})
                runs[f"{variant_name(config, changes)}-seed{seed}"] = config
        assert len(runs) == len(self.variants) * len(self.seeds if seeds is None else seeds), "names must differ"
        return runs


def variant_name(config: ExperimentConfig, changes: Changes) -> str:
    """The name of a variant: net, depth and further changes, such as "plain-56-learning_rate=0.05"."""
    named = config.fields_where(lambda role: role.named)
    parts = [f"{config.model.net}-{config.model.depth}"]
    parts += [f"{k.rsplit('.', 1)[-1]}={short(v)}" for k, v in changes.items() if k not in named]
    name = "-".join(parts)
    if len(name.encode()) <= LONGEST_NAME:
        return name
    # File systems allow 255 bytes. A longer name is cut, and a digest of the whole name is added.
    return f"{name.encode()[: LONGEST_NAME - 10].decode(errors='ignore')}-{short_digest(name.encode())[:8]}"


def grid(**axes: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """All combinations of values of the axes. Two underscores mean a dot: `model__depth=(20, 56)` is "model.depth"."""
    names = [name.replace("__", ".") for name in axes]
    return tuple(dict(zip(names, values, strict=True)) for values in itertools.product(*axes.values()))


def short(value: Any) -> str:
    """Formats a value for the name of a run. Commas join a list; a path becomes its last part and a short digest."""
    if isinstance(value, tuple | list):
        return ",".join(map(short, value))
    text = str(value)
    if os.sep not in text:
        return text
    # A path becomes its last part with a few digits of a digest, so that different paths have different names.
    return f"{Path(text).name}-{short_digest(text.encode())[:6]}"


def parse_changes(base: ExperimentConfig, text: str) -> dict[str, Any]:
    """Parses changes such as "shortcut=scale,shortcut_scale=0.5"; returns {dotted field: value}.

    A field is given by its dotted name, such as model.shortcut, or by the last part of it, such as shortcut.

    Raises:
      UserError: a change has no value, there is no such field, or several fields have this last part.
    """
    fields = flatten(to_dict(base))
    changes: dict[str, Any] = {}
    for change in re.split(r",(?=[A-Za-z_][\w.-]*=)", text):
        name, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"{text}: got {change!r}; legal: field=value, such as model.depth=110.")
        field = _field(name.replace("-", "_"), fields)
        if isinstance(fields[field], list):
            changes[field] = [_literal(item) for item in value.strip("[]()").split(",") if item]
        else:
            changes[field] = _literal(value)
    return changes


def _field(name: str, fields: Mapping[str, Any]) -> str:
    found = [field for field in fields if name in (field, field.rsplit(".", 1)[-1])]
    if len(found) > 1:
        raise UserError(f"{name}: several fields have this name; legal: {', '.join(found)}.")
    if not found:
        legal = list(fields) if "." in name else [field.rsplit(".", 1)[-1] for field in fields]
        raise UserError(f"{name}: no such field; {nearest(name, legal)}")
    return found[0]


def _literal(text: str) -> Any:
    text = text.strip()
    text = {"true": "True", "false": "False"}.get(text, text)
    with contextlib.suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    return text
