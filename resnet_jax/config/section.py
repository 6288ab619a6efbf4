"""What all configurations have in common: frozen dataclasses, checked when they are built, whose fields have roles.

A wrong value gets a sentence: the field, what it got, what is legal. A field's role says what the field is. Code that
compares, names or records runs asks the role and keeps no list of fields of its own. Nothing here imports JAX.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from resnet_jax.errors import UserError

T = TypeVar("T")

Kind = Literal["net", "data", "place", "recipe", "operational"]
Comparison = Literal["setting", "net", "shortcut", "warm-up", "budget", "bookkeeping", "seed", "never"]


@dataclass(frozen=True)
class Condition:
    """When a field has an effect."""

    holds: Callable[[Any], bool]
    """Takes the section that the field belongs to."""
    words: str
    """What the field needs, such as "data.source='tfds'"."""


@dataclass(frozen=True)
class Role:
    """What a field is."""

    of: Kind
    """What the field describes:

    - "net": the function that a net computes in eval mode, but for the values of its parameters.
    - "data": the images and labels, and what the net is given of them.
    - "place": where the images are. It tells no run from another: the data are known by their fingerprint.
    - "recipe": how the net is trained and evaluated.
    - "operational": how a run is carried out. It changes no result beyond rounding.
    """
    compared: Comparison = "setting"
    """What a report makes of runs that differ in the field:

    - "setting": the runs belong to different tables.
    - "net": the runs stand in one table, as different nets.
    - "shortcut": the same, and a plain net is the twin of residual nets that differ from it in such fields alone.
    - "warm-up": the runs stand in one table, because a warm-up belongs to a depth.
    - "budget": the runs are each other's control: how long, and at which rate, a net is trained.
    - "bookkeeping": the runs stand in one table; the field says how often, and in what batches, they are evaluated.
    - "seed": the runs repeat one another.
    - "never": the report does not look at the field.

    It does not look at operational fields either, unless one decides the results of a run (`decides`).
    """
    named: bool = False
    """Whether the net's name, such as "preact-resnet-56", already says the value."""
    open_in_papers: bool = False
    """Whether a run with any value may stand beside the papers' numbers: the papers leave it open, it changes no
    result, or reports/papers judges it together with other fields."""
    is_path: bool = False
    """Whether the value is a path, which has many spellings: see `plain.one_spelling`."""
    needs: Condition | None = None
    """When the field has an effect; None: always."""
    words: str = ""
    """What reports call the field; empty: the last part of its name, with spaces."""
    bound_to: str | None = None
    """Dotted name of the field that gives this one its meaning, as `data.source` does to `data.path`: when that field
    is changed, an inherited value goes back to the default. None: there is no such field."""
    decides: Callable[[Any], bool] | None = None
    """For operational fields: takes the whole configuration, and says whether the field decides its results after all;
    None: never."""


NET = Role("net", compared="net")
SHORTCUT = Role("net", compared="shortcut")
RECIPE = Role("recipe")
DATA = Role("data")
WARM_UP = Role("recipe", compared="warm-up")
BUDGET = Role("recipe", compared="budget")
BOOKKEEPING = Role("recipe", compared="bookkeeping", open_in_papers=True)
OPERATIONAL = Role("operational", open_in_papers=True)


def field(default: T, role: Role, **details: Any) -> T:
    """A field of a configuration.

    Args:
      default: also the field's value wherever it has no effect.
      role: what the field is.
      details: attributes of Role in which it is not `role`.
    """
    found: T = dataclasses.field(default=default, metadata={"role": dataclasses.replace(role, **details)})
    return found


def only_with(name: str, *values: object) -> Condition:
    """The condition that another field of the same section, such as "source" of "data.source", has one of some values.

    Args:
      name: dotted name of the other field.
      values: the values with which the field has an effect.
    """
    *others, last = map(repr, values)
    listed = f"{', '.join(others)} or {last}" if others else last
    return Condition(lambda section: getattr(section, name.rsplit(".", 1)[-1]) in values, f"{name}={listed}")


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

    @classmethod
    @functools.cache
    def _declared(cls) -> Mapping[str, tuple[Role, Any]]:
        """Role and default of each field, by dotted name."""
        found: dict[str, tuple[Role, Any]] = {}
        hints = typing.get_type_hints(cls)
        for f in dataclasses.fields(cls):  # type: ignore[arg-type]  # every subclass is a dataclass
            if isinstance(hints[f.name], type) and issubclass(hints[f.name], Section):
                found |= {f"{f.name}.{name}": declared for name, declared in hints[f.name]._declared().items()}
            else:
                assert "role" in f.metadata, f"{cls.__name__}.{f.name} has no role: declare it with section.field"
                found[f.name] = (f.metadata["role"], f.default)
        return found

    @classmethod
    def roles(cls) -> dict[str, Role]:
        """The role of each field, by dotted name from this section on: "depth" and "norm.scope" for a ModelConfig."""
        return {name: role for name, (role, _) in cls._declared().items()}

    @classmethod
    def fields_where(cls, wanted: Callable[[Role], bool]) -> tuple[str, ...]:
        """The dotted names of the fields whose role is wanted, in the order of their declarations."""
        return tuple(name for name, role in cls.roles().items() if wanted(role))

    @classmethod
    def default(cls, name: str) -> Any:
        """The default of a field, by dotted name: its value wherever it has no effect."""
        return cls._declared()[name][1]

    def value(self, name: str) -> Any:
        """The value of a field, by dotted name."""
        return functools.reduce(getattr, name.split("."), self)

    def without_effect(self) -> dict[str, Condition]:
        """The fields that change nothing with the others as they are, by dotted name, each with what it needs."""
        found = {}
        for name, role in self.roles().items():
            section, _, _ = name.rpartition(".")
            if role.needs is not None and not role.needs.holds(self.value(section) if section else self):
                found[name] = role.needs
        return found

    def require_effect(self, names: Container[str] | None = None) -> None:
        """Makes sure that fields without effect have their defaults: a run must not claim what it does not use.

        Args:
          names: dotted names of the fields to look at; None: all.

        Raises:
          UserError: a field has no effect and another value than its default.
        """
        for name, needs in self.without_effect().items():
            if (names is None or name in names) and self.value(name) != self.default(name):
                full = f"{self._section}.{name}" if self._section else name
                raise UserError(
                    f"{full}: got {self.value(name)!r}, which has an effect only with {needs.words}; leave it at its "
                    f"default, {self.default(name)!r}, or change that too."
                )

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
        if set(args) == {int, float}:
            # Each stays what it is: a whole number and a share mean different things.
            return _typed(name, int if type(value) is int else float, value)
        (inner,) = (a for a in args if a is not type(None) and a not in words)
        # A word, such as "auto", may stand in the place of a number.
        return _typed(name, words[0] if words and isinstance(value, str) else inner, value)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            raise UserError(f"{name}: got {value!r}; legal: a list of {getattr(args[0], '__name__', 'numbers')}.")
        return tuple(_typed(f"{name}[{i}]", args[0], v) for i, v in enumerate(value))
    if hint is float and type(value) is int:
        value = float(value) if abs(value) < 2**1023 else math.inf
    # bool is an int in Python, never here.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{name}: got {value!r}; legal: a value of type {hint.__name__}.")
    if hint is float and not math.isfinite(value):
        raise UserError(f"{name}: got {value!r}; legal: a finite number.")
    return value
