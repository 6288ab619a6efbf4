"""What all configurations have in common: frozen dataclasses, their fields checked when built, types and then values.

A wrong one gets a sentence: the field, what it got, what is legal. Nothing here imports JAX.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, Literal

from resnet_jax.errors import UserError


class Section:
    """Base of all configurations: types are checked on construction, then `_check` looks at the values."""

    _section: typing.ClassVar[str] = ""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for f in dataclasses.fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            name = f"{self._section}.{f.name}" if self._section else f.name
            # A frozen dataclass: an int given for a float field is stored as the float it means.
            object.__setattr__(self, f.name, _typed(name, hints[f.name], getattr(self, f.name)))
        self._check()

    def _check(self) -> None:
        """Raises UserError where a value, or a combination of values, is not legal."""

    def _require(self, condition: bool, name: str, legal: str) -> None:
        if not condition:
            full = f"{self._section}.{name}" if self._section else name
            raise UserError(f"{full}: got {getattr(self, name)!r}; legal: {legal}.")


def _typed(name: str, hint: Any, value: Any) -> Any:
    """`value` as the type `hint`, or UserError that names the field, the value and what is legal."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value in args and type(value) in {type(a) for a in args}:
            return value
        raise UserError(f"{name}: got {value!r}; legal: {', '.join(map(repr, args))}.")
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        words = [a for a in args if typing.get_origin(a) is Literal]
        (inner,) = (a for a in args if a is not type(None) and a not in words)
        # A word, such as "auto", may stand in the place of a number.
        return _typed(name, words[0] if words and isinstance(value, str) else inner, value)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            raise UserError(f"{name}: got {value!r}; legal: a list of {args[0].__name__}.")
        return tuple(_typed(f"{name}[{i}]", args[0], v) for i, v in enumerate(value))
    if hint is float and type(value) is int:
        value = float(value) if abs(value) < 2**1023 else math.inf
    # bool is an int in Python, never here.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{name}: got {value!r}; legal: a value of type {hint.__name__}.")
    if hint is float and not math.isfinite(value):
        raise UserError(f"{name}: got {value!r}; legal: a finite number.")
    return value
