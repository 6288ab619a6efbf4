"""Reads fields of the JSON files that timm and transformers store with weights, and checks each field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from resnet_jax.errors import UserError

LARGEST = 8192
"""Largest side, in pixels, that a picture may be resized to."""


@dataclass(frozen=True)
class Fields:
    """The fields of a JSON file, or of a table inside it. A missing or null field has the caller's default.

    For an illegal value, every method except `get` raises UserError, which names the file and the field.
    """

    values: Mapping[str, Any]
    where: str
    """The beginning of messages: the file and the path of this table, such as "config.json: pretrained_cfg."."""
    advice: str = ""
    """The end of messages: advice to the user."""

    def get(self, name: str) -> Any:
        """The unchecked value of a field; None if it is missing."""
        return self.values.get(name)

    def refuse(self, name: str, legal: str, got: str | None = None) -> NoReturn:
        """Raises UserError for a field. The message shows its value, or `got`, and the legal values."""
        advice = f"; {self.advice}" if self.advice else ""
        raise UserError(f"{self.where}{name}: got {got or repr(self.get(name))}; legal: {legal}{advice}.")

    def require(self, name: str, legal: Any, why: str) -> None:
        """Checks that a field is missing or has the value `legal`. In the message, `why` explains this requirement."""
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
        """Reads a field that must be a whole number of pixels, from 1 to `LARGEST`, the largest side of a picture."""
        legal = f"a whole number from 1 to {LARGEST}"
        found: int | None = self._checked(name, default, lambda v: type(v) is int and 1 <= v <= LARGEST, legal)
        return found

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """Reads a field that must be a number from `least` to `most`."""
        legal = f"a number from {least:g} to {most:g}"
        return float(self._checked(name, default, lambda v: _is_number(v) and least <= v <= most, legal))

    def flag(self, name: str, default: bool) -> bool:
        """Reads a field that must be true or false."""
        return bool(self._checked(name, default, lambda v: type(v) is bool, "true, false"))

    def text(self, name: str, default: str, legal: Sequence[str]) -> str:
        """Reads a field that must be one of the texts in `legal`."""
        fits = lambda v: isinstance(v, str) and v in legal  # noqa: E731
        return str(self._checked(name, default, fits, ", ".join(map(repr, legal))))

    def numbers(self, name: str, default: Sequence[float], count: int, *, positive: bool = False) -> tuple[float, ...]:
        """Reads a field that must be a list of `count` finite numbers, one for each channel."""
        value = self.get(name)
        if value is None:
            value = default
        fits = isinstance(value, list | tuple) and len(value) == count and all(map(_is_number, value))
        if not fits or (positive and min(value) <= 0.0):
            self.refuse(name, f"a list of {count} {'numbers above 0' if positive else 'numbers'}, one for each channel")
        return tuple(map(float, value))

    def names(self, name: str, count: int) -> tuple[str, ...] | None:
        """Reads a field that must have `count` class names, as a list or as a table with the keys "0", "1", ...

        Returns None if the field is missing or empty.
        """
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
        """Reads a field that must be a table."""
        value = self.get(name)
        if not isinstance(value, Mapping):
            self.refuse(name, "a table")
        return Fields(value, f"{self.where}{name}.", self.advice)


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number and not a bool. An integer that no float can hold does not count as finite."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
