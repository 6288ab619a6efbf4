"""The base class of all configurations: frozen dataclasses whose values are checked when they are built.

The message about a wrong value gives the field, the value and the legal values. Each field has a role, which says what
it describes. Other modules use the roles, instead of lists of fields, when they compare, name or record runs.
"""

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
    """The condition under which a field has an effect."""

    holds: Callable[[Any], bool]
    """Says whether the condition holds. Its argument is the section that the field belongs to."""
    words: str
    """The condition as text for messages, such as "data.source='tfds'"."""


@dataclass(frozen=True)
class Role:
    """What a config field describes, and how reports treat runs with different values of the field."""

    of: Kind
    """What the field describes:

    - "net": the function that a net computes in eval mode, given its parameters.
    - "data": the images and labels, and how they are prepared for the net.
    - "place": the path of the images. Runs may differ in it, because a fingerprint identifies the data.
    - "recipe": how the net is trained and evaluated.
    - "operational": how a run is carried out. It changes results only by rounding.
    """
    compared: Comparison = "setting"
    """How a report treats runs that differ in the field:

    - "setting": the runs are in different tables.
    - "net": the runs are in one table, as different nets.
    - "shortcut": as "net". A plain net and a residual net that differ only in such fields form a pair.
    - "warm-up": the runs are in one table, because each depth may have its own warm-up.
    - "budget": the runs are controls of each other, with another number of iterations or another learning rate.
    - "bookkeeping": the runs are in one table; the field says how often, and in what batches, they are evaluated.
    - "seed": the runs are repetitions.
    - "never": the report ignores the field.

    Operational fields are ignored too, unless the field decides the results of a run (`decides`).
    """
    named: bool = False
    """Whether the value follows from the net's name, such as "preact-resnet-56"."""
    open_in_papers: bool = False
    """Whether a run with any value of the field may be compared with the papers' numbers: the papers do not specify the
    field, it changes no result, or reports/papers checks it together with other fields."""
    is_path: bool = False
    """Whether the value is a path, which `plain.one_spelling` normalises."""
    needs: Condition | None = None
    """The condition under which the field has an effect; None: always."""
    words: str = ""
    """The field's name in reports; empty: the last part of its dotted name, with spaces instead of underscores."""
    bound_to: str | None = None
    """Dotted name of the field on which this one depends, as `data.path` depends on `data.source`. When a run is
    changed in that field only, this one gets its default. None: it depends on no field."""
    decides: Callable[[Any], bool] | None = None
    """For operational fields: a function of an ExperimentConfig that says whether the field changes the results of that
    run; None: never."""


NET = Role("net", compared="net")
SHORTCUT = Role("net", compared="shortcut")
RECIPE = Role("recipe")
DATA = Role("data")
WARM_UP = Role("recipe", compared="warm-up")
BUDGET = Role("recipe", compared="budget")
BOOKKEEPING = Role("recipe", compared="bookkeeping", open_in_papers=True)
OPERATIONAL = Role("operational", open_in_papers=True)


def field(default: T, role: Role, **details: Any) -> T:
    """Declares a field of a configuration.

    Args:
      default: default value. If other fields take away this field's effect, no other value is legal.
      role: what the field describes.
      details: attributes of Role by name, such as `is_path=True`; they replace the values that `role` has.
    """
    found: T = dataclasses.field(default=default, metadata={"role": dataclasses.replace(role, **details)})
    return found


def only_with(name: str, *values: object) -> Condition:
    """The condition that another field has one of `values`.

    `name` is the dotted name of the other field, such as "data.source". Both fields must be in the same section.
    """
    *others, last = map(repr, values)
    listed = f"{', '.join(others)} or {last}" if others else last
    return Condition(lambda section: getattr(section, name.rsplit(".", 1)[-1]) in values, f"{name}={listed}")


class Section:
    """Base class of all configurations.

    The constructor checks the types of the fields. Then it calls `_check`, which checks their values.
    """

    _section: typing.ClassVar[str] = ""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for f in dataclasses.fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            name = f"{self._section}.{f.name}" if self._section else f.name
            # The dataclass is frozen. An int for a float field is stored as a float.
            object.__setattr__(self, f.name, typed(name, hints[f.name], getattr(self, f.name)))
        self._check()

    @classmethod
    @functools.cache
    def _declared(cls) -> Mapping[str, tuple[Role, Any]]:  # {dotted name: (role, default)}
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
        """The role of each field: {dotted name: role}. For ModelConfig, "norm.scope" is one of the names."""
        return {name: role for name, (role, _) in cls._declared().items()}

    @classmethod
    def fields_where(cls, wanted: Callable[[Role], bool]) -> tuple[str, ...]:
        """Dotted names of the fields whose roles satisfy `wanted`, in the order of declaration."""
        return tuple(name for name, role in cls.roles().items() if wanted(role))

    @classmethod
    def default(cls, name: str) -> Any:
        """The default of the field with the dotted name `name`."""
        return cls._declared()[name][1]

    def value(self, name: str) -> Any:
        """The value of the field with the dotted name `name`."""
        return functools.reduce(getattr, name.split("."), self)

    def without_effect(self) -> dict[str, Condition]:
        """The fields that have no effect in this configuration: {dotted name: the condition that does not hold}."""
        found = {}
        for name, role in self.roles().items():
            section, _, _ = name.rpartition(".")
            if role.needs is not None and not role.needs.holds(self.value(section) if section else self):
                found[name] = role.needs
        return found

    def require_effect(self, names: Container[str] | None = None) -> None:
        """Checks that each field without effect in this configuration has its default value.

        Args:
          names: dotted names of the fields to check; None: all.

        Raises:
          UserError: a field has no effect, and its value is not the default.
        """
        for name, needs in self.without_effect().items():
            if (names is None or name in names) and self.value(name) != self.default(name):
                full = f"{self._section}.{name}" if self._section else name
                raise UserError(
                    f"{full}: got {self.value(name)!r}, which has an effect only with {needs.words}; leave it at its "
                    f"default, {self.default(name)!r}, or meet this condition."
                )

    def _check(self) -> None:
        """Raises UserError for illegal values and combinations."""

    def _require(self, condition: bool, name: str, legal: str, got: str | None = None) -> None:
        """Raises UserError about the field `name` if `condition` is false.

        The message gives the field's value and the legal values. `legal` is the text for the legal values; `got`, if it
        is given, is the text for the field's value.
        """
        if not condition:
            full = f"{self._section}.{name}" if self._section else name
            raise UserError(f"{full}: got {got or repr(getattr(self, name))}; legal: {legal}.")


def typed(name: str, hint: Any, value: Any) -> Any:
    """Returns the value of the field `name` as the type `hint`; raises UserError if the type of `value` is illegal."""
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
            # Whole numbers stay ints: an iteration and a share of the run mean different things.
            return typed(name, int if type(value) is int else float, value)
        (inner,) = (a for a in args if a is not type(None) and a not in words)
        # A word, such as "auto", may replace a number.
        return typed(name, words[0] if words and isinstance(value, str) else inner, value)
    if origin is dict and isinstance(value, dict):
        return {key: typed(f"{name}[{key!r}]", args[1], item) for key, item in value.items()}
    if origin is tuple:
        if not isinstance(value, tuple | list):
            raise UserError(f"{name}: got {value!r}; legal: a list of {getattr(args[0], '__name__', 'numbers')}.")
        return tuple(typed(f"{name}[{i}]", args[0], v) for i, v in enumerate(value))
    if hint is float and type(value) is int:
        value = float(value) if abs(value) < 2**1023 else math.inf
    # In Python bool is an int; here it is not.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{name}: got {value!r}; legal: a value of type {hint.__name__}.")
    if hint is float and not math.isfinite(value):
        raise UserError(f"{name}: got {value!r}; legal: a finite number.")
    return value
