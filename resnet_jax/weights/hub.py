"""The files that timm and transformers put beside weights on the hub: every field is checked where it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from resnet_jax.errors import UserError

LARGEST = 8192
"""Pixels of the largest side that a picture is resized to."""


@dataclass(frozen=True)
class Fields:
    """The fields of one file or table. A field that is missing or null has the default that the caller gives.

    Every method but `get` raises UserError, which names the file and the field, for a value that is not legal.
    """

    values: Mapping[str, Any]
    where: str
    """The file, for messages, and the names of the tables down to this one, each with a point at its end."""
    advice: str = ""
    """Advice about a value, as the end of a sentence."""

    def get(self, name: str) -> Any:
        """The unchanged value in the file; None without one."""
        return self.values.get(name)

    def refuse(self, name: str, legal: str, got: str | None = None) -> NoReturn:
        """Raises UserError for an illegal value of a field; `got` replaces a long value in the message."""
        advice = f"; {self.advice}" if self.advice else ""
        raise UserError(f"{self.where}{name}: got {got or repr(self.get(name))}; legal: {legal}{advice}.")

    def require(self, name: str, legal: Any, why: str) -> None:
        """Checks that a field, if present, has the only legal value; `why` gives the source of this value."""
        given = self.get(name)
        if given is not None and (type(given) is not type(legal) or given != legal):
            self.refuse(name, f"{legal!r}, {why}")

    def _checked(self, name: str, default: Any, fits: Callable[[Any], bool], legal: str) -> Any:
        value = self.get(name)
        if value is None:
            return default
        if not fits(value):
            self.refuse(name, legal)
        return value

    def whole(self, name: str, default: int | None) -> int | None:
        """A whole number of pixels."""
        legal = f"a whole number from 1 to {LARGEST}"
        found: int | None = self._checked(name, default, lambda v: type(v) is int and 1 <= v <= LARGEST, legal)
        return found

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A number from `least` to `most`."""
        legal = f"a number from {least:g} to {most:g}"
        return float(self._checked(name, default, lambda v: _is_number(v) and least <= v <= most, legal))

    def flag(self, name: str, default: bool) -> bool:
        """True or False."""
        return bool(self._checked(name, default, lambda v: type(v) is bool, "true, false"))

    def text(self, name: str, default: str, legal: Sequence[str]) -> str:
        """One of the legal texts."""
        fits = lambda v: isinstance(v, str) and v in legal  # noqa: E731
        return str(self._checked(name, default, fits, ", ".join(map(repr, legal))))

    def numbers(self, name: str, default: Sequence[float], count: int, *, positive: bool = False) -> tuple[float, ...]:
        """A list of `count` numbers."""
        value = self.get(name)
        if value is None:
            value = default
        fits = isinstance(value, list | tuple) and len(value) == count and all(map(_is_number, value))
        if not fits or (positive and min(value) <= 0.0):
            self.refuse(name, f"a list of {count} {'numbers above 0' if positive else 'numbers'}, one for each channel")
        return tuple(map(float, value))

    def names(self, name: str, count: int) -> tuple[str, ...] | None:
        """Names of classes: a list, or a table with the keys 0, 1, ...; None without names."""
        value = self.get(name)
        if not value and value in (None, [], {}):
            return None
        legal = f"{count} names that can be printed, one for each class"
        if isinstance(value, Mapping):
            if value.keys() != {str(number) for number in range(count)}:
                self.refuse(name, f"{count}, one for each number from '0' to '{count - 1}'", f"{len(value)} names")
            value = [value[str(number)] for number in range(count)]
        if not isinstance(value, list):
            self.refuse(name, legal)
        if len(value) != count:
            self.refuse(name, f"{count}, one for each class", f"{len(value)} names")
        for number, one in enumerate(value):
            if not isinstance(one, str) or not one.strip() or not one.isprintable():
                self.refuse(name, legal, f"{one!a} for class {number}")
        return tuple(value)

    def table(self, name: str) -> Fields:
        """The fields of a table inside this one."""
        value = self.get(name)
        if not isinstance(value, Mapping):
            self.refuse(name, "a table")
        return Fields(value, f"{self.where}{name}.", self.advice)


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, but no bool; an integer beyond all floats is not finite."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
