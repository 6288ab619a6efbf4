"""Groups runs: seeds of one configuration into a variant, variants that are compared into a comparison.

- A *variant* is everything in the configuration but the seed, on one data set.
- Runs of one study on one data set are compared, whatever fields differ between them. So are runs of several studies
  that differ in no more than the net, the warm-up that belongs to a depth, and the training budget. Which field is
  which, its role says: see `compared` in config/section.py.
- Where nothing but the net's name and the budget differ, and there are two depths of one kind of net, the question is
  the papers': what does depth do? Then the setting with the most nets is the main table, and other budgets are its
  control, "is it degradation, or only too little training?".
- Otherwise the fields that differ are the question: one numeric field is an axis, a second field makes lines; where
  that is not possible, each variant is a row beside a baseline.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.reports import fields
from resnet_jax.reports.runs import Run
from resnet_jax.reports.stats import Summary

Measure = Callable[[Run], float | None]

# "Degradation" is about layers added to a net that already works (He et al. 2015, Sec. 1); the paper's own CIFAR
# curves start at 20 layers, and a net of 8 may be too small for its task. Depth is counted from there.
BASE_DEPTH = 20
# Most lines that one panel can hold. Shortest axis that is worth one: two points are two rows.
MOST_LINES, LEAST_POINTS = 6, 3


def train_error(run: Run) -> float | None:
    """Training error in eval mode over all training examples, a fraction."""
    return run.train_error


def test_error(run: Run) -> float | None:
    """Test error of the last step, a fraction."""
    return run.test_error


test_error.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever pytest thinks of the name


def running_error(run: Run) -> float | None:
    """Training error while the net changed, a fraction."""
    return run.running_error


@dataclass(frozen=True)
class Variant:
    """The seeds of one configuration."""

    runs: tuple[Run, ...]
    """In order of their seeds."""
    net: str
    """Kind of net, such as "plain" or "resnet"; with a field in brackets where the kind alone would be ambiguous."""
    label: str = ""
    """The fields in which it differs from the baseline, in words; "baseline" for that one. Empty in a comparison of
    depths."""

    @property
    def config(self) -> ExperimentConfig:
        """The configuration, with the seed of the first run."""
        return self.runs[0].record.config

    @property
    def depth(self) -> int:
        """Weighted layers."""
        return self.config.model.depth

    @property
    def name(self) -> str:
        """Such as "plain-56"."""
        return f"{self.net}-{self.depth}"

    @property
    def is_plain(self) -> bool:
        """Whether the net has no shortcuts."""
        return self.config.model.is_plain

    @property
    def iterations(self) -> int:
        """Optimizer steps of a run."""
        return self.config.train.iterations

    @property
    def rate(self) -> float:
        """Learning rate before its first drop."""
        return self.config.optim.learning_rate

    @property
    def schedule(self) -> str:
        """The rate, and whether it is warmed up: "0.1", "0.1 with warm-up"."""
        return f"{self.rate:g}" + (" with warm-up" if self.config.optim.warmup != "none" else "")

    @property
    def finished(self) -> tuple[Run, ...]:
        """Runs that reached their last step."""
        return tuple(run for run in self.runs if not run.diverged)

    @property
    def diverged(self) -> int:
        """How many runs diverged."""
        return len(self.runs) - len(self.finished)

    def by_seed(self, measure: Measure) -> dict[int, float]:
        """A measure of each run that finished and has it."""
        measured = {run.seed: measure(run) for run in self.finished}
        return {seed: value for seed, value in measured.items() if value is not None}

    def summary(self, measure: Measure) -> Summary | None:
        """Over the runs that finished; None where none did."""
        values = tuple(self.by_seed(measure).values())
        return Summary(values) if values else None


@dataclass(frozen=True)
class Axis:
    """A numeric field that the variants of a comparison are drawn against."""

    field: str
    """Dotted name."""
    lines: tuple[tuple[str, tuple[Variant, ...]], ...]
    """Label and points of each line, by the field's value. The label is empty where there is one line."""

    def value(self, variant: Variant) -> float:
        """Where a variant lies on the axis."""
        return float(fields.values(variant.config)[self.field])

    @property
    def logarithmic(self) -> bool:
        """Whether the values span a decade or more, or double from each to the next."""
        found = sorted({self.value(variant) for _, points in self.lines for variant in points})
        doubling = len(found) > 3 and all(b >= 1.7 * a for a, b in itertools.pairwise(found))
        return found[0] > 0.0 and (found[-1] >= 10.0 * found[0] or doubling)


@dataclass(frozen=True)
class Comparison:
    """Nets on one data set that are compared."""

    question: Literal["depth", "fields"]
    """The papers' question, or what the fields do that differ."""
    varied: tuple[str, ...]
    """The fields in which the cells differ."""
    cells: tuple[Variant, ...]
    """For "depth": by depth, plain before residual. For "fields": the baseline first, then in the study's order."""
    others: tuple[Variant, ...] = ()
    """For "depth": the same nets in other budgets or at other rates, by net, depth, iterations and rate."""
    axis: Axis | None = None
    """For "fields": the numeric field that is an axis; None: each variant is a row."""

    @property
    def baseline(self) -> Variant:
        """The variant that the others are compared with, for the question "fields"."""
        return self.cells[0]

    @property
    def nets(self) -> tuple[str, ...]:
        """Kinds of net, plain first."""
        return tuple(dict.fromkeys(cell.net for cell in sorted(self.cells, key=lambda c: (not c.is_plain, c.net))))

    def of_net(self, net: str) -> tuple[Variant, ...]:
        """The cells of one kind of net, by depth."""
        return tuple(cell for cell in self.cells if cell.net == net)

    def base_cell(self, net: str) -> Variant:
        """The net whose depth the others' is compared with: the shallowest of at least 20 layers that has a deeper
        one beside it, else the shallowest."""
        cells = self.of_net(net)
        return next((cell for cell in cells[:-1] if cell.depth >= BASE_DEPTH), cells[0])

    def deeper_cells(self, net: str) -> tuple[Variant, ...]:
        """The cells of one kind of net that are deeper than its base."""
        return tuple(cell for cell in self.of_net(net) if cell.depth > self.base_cell(net).depth)

    def twins(self) -> tuple[tuple[Variant, Variant], ...]:
        """Each plain net with each residual net that differs in its shortcuts alone."""
        return tuple(
            (plain, other)
            for plain in self.cells
            for other in self.cells
            if plain.is_plain
            and not other.is_plain
            and _beside_shortcuts(plain.config.model) == _beside_shortcuts(other.config.model)
        )


def _beside_shortcuts(model: ModelConfig) -> list[Any]:
    """What a plain net and its residual twin have in common."""
    names = ModelConfig.fields_where(lambda role: role.compared == "net")
    return [model.block_kind if name == "block" else model.value(name) for name in names]


def comparisons(runs: Iterable[Run], order: Mapping[str, int] | None = None) -> tuple[Comparison, ...]:
    """Every run in its variant, every variant in its comparison; the comparison with most nets first.

    Args:
      runs: with a record each.
      order: the place of a run's name in its study's list; runs without one come last, by name.
    """
    variants: dict[str, list[Run]] = {}
    for run in runs:
        variants.setdefault(_key(run, fields.compared("seed")), []).append(run)
    found = [_comparison(members, order or {}) for members in _components(list(variants.values()))]
    return tuple(sorted(found, key=lambda comparison: -len(comparison.cells)))


def _components(variants: Sequence[list[Run]]) -> list[list[list[Run]]]:
    """Variants in groups: of one study on one data set, or alike but for net and budget, also by a chain of such."""
    blind = fields.compared("seed", "net", "shortcut", "warm-up", "bookkeeping", "budget")
    groups: list[tuple[set[str], list[list[Run]]]] = []
    for members in variants:
        marks = {_key(run, blind) for run in members}
        marks |= {f"{run.record.study} on {run.record.data.fingerprint}" for run in members}
        joined = [group for group in groups if group[0] & marks]
        groups = [group for group in groups if group not in joined]
        groups.append((marks.union(*(g[0] for g in joined)), [*(v for g in joined for v in g[1]), members]))
    return [group for _, group in groups]


def _comparison(variants: list[list[Run]], order: Mapping[str, int]) -> Comparison:
    configs = [members[0].record.config for members in variants]
    varied = fields.varied(configs)
    if set(varied) <= fields.NETS | fields.BUDGET | {fields.MILESTONES, "model.block"}:
        found = _by_depth(variants)
        if any(found.deeper_cells(net) for net in found.nets):
            return found
    return _by_fields(variants, varied, order)


def _by_depth(variants: Sequence[list[Run]]) -> Comparison:
    setting_blind = fields.compared("seed", "net", "shortcut", "warm-up", "bookkeeping")
    settings: dict[str, list[list[Run]]] = {}
    for members in variants:
        settings.setdefault(_key(members[0], setting_blind), []).append(members)

    def nets(setting: list[list[Run]]) -> int:
        return len({(m[0].record.config.model.net, m[0].record.config.model.depth) for m in setting})

    base = max(settings.values(), key=lambda s: (nets(s), s[0][0].record.config.train.iterations))
    cells = _variants(base)
    # In the control a schedule is told beside each net, so it is no part of a name.
    others = [
        variant
        for setting in settings.values()
        if setting is not base
        for variant in _variants(setting, unnamed=fields.compared("warm-up"))
    ]
    return Comparison(
        "depth",
        fields.varied([cell.config for cell in cells]),
        tuple(sorted(cells, key=lambda v: (v.depth, not v.is_plain, v.net))),
        tuple(sorted(others, key=lambda v: (not v.is_plain, v.net, v.depth, v.iterations, -v.rate))),
    )


def _by_fields(variants: list[list[Run]], varied: tuple[str, ...], order: Mapping[str, int]) -> Comparison:
    def place(members: list[Run]) -> tuple[float, str]:
        return min(order.get(run.record.run, float("inf")) for run in members), members[0].record.run

    variants = sorted(variants, key=place)
    flats = [fields.values(members[0].record.config) for members in variants]
    base = flats[0] if variants[0][0].record.run in order else min(flats, key=lambda flat: _oddity(flat, flats, varied))
    cells = []
    for members, flat in zip(variants, flats, strict=True):
        config = members[0].record.config
        changed = [name for name in varied if flat[name] != base[name]]
        label = fields.words(config, changed) if changed else "baseline"
        cells.append(Variant(tuple(sorted(members, key=lambda run: run.seed)), config.model.net, label))
    cells.sort(key=lambda cell: cell.label != "baseline")
    return Comparison("fields", varied, tuple(cells), axis=find_axis(cells, varied))


def _oddity(flat: Mapping[str, Any], flats: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> tuple[int, int]:
    """How far a variant is from the others, then from the defaults: the least odd one is the baseline."""
    defaults = fields.values(ExperimentConfig())
    return (
        sum(flat[name] != other[name] for other in flats for name in varied),
        sum(flat[name] != defaults[name] for name in varied),
    )


def find_axis(cells: Sequence[Variant], varied: tuple[str, ...]) -> Axis | None:
    """The numeric field that makes lines of the variants: the depth, or the field with the most values.

    None where no field does: a line has two points or more, the axis three, and there are few lines.
    """
    flats = {id(cell): fields.values(cell.config) for cell in cells}
    several = [n for n in varied if fields.is_numeric(list(flats.values()), n)]
    found = {name: {flat[name] for flat in flats.values()} for name in several}
    for field in sorted(found, key=lambda name: (name != fields.DEPTH, -len(found[name]))):
        rest = [name for name in varied if name != field]
        lines: dict[str, list[Variant]] = {}
        for cell in sorted(cells, key=lambda cell: [json.dumps(flats[id(cell)][name]) for name in rest]):
            lines.setdefault(fields.words(cell.config, rest), []).append(cell)
        if rest and fields.is_numeric(list(flats.values()), rest[0]):
            lines = dict(sorted(lines.items(), key=lambda line: flats[id(line[1][0])][rest[0]]))
        shortest = min(len(points) for points in lines.values())
        if len(found[field]) >= LEAST_POINTS and shortest >= 2 and len(lines) <= MOST_LINES:
            ordered = ((label, sorted(points, key=lambda c: flats[id(c)][field])) for label, points in lines.items())
            return Axis(field, tuple((label, tuple(points)) for label, points in ordered))
    return None


def _variants(setting: list[list[Run]], unnamed: Collection[str] = ()) -> list[Variant]:
    """Variants of one setting, their nets named apart where depth and kind alone would not do it."""
    named: dict[tuple[str, int], list[list[Run]]] = {}
    for members in setting:
        model = members[0].record.config.model
        named.setdefault((model.net, model.depth), []).append(members)
    variants = []
    for (net, _), alike in named.items():
        apart = [n for n in fields.varied([members[0].record.config for members in alike]) if n not in unnamed]
        for members in alike:
            label = f"{net} ({fields.words(members[0].record.config, apart)})" if apart else net
            variants.append(Variant(tuple(sorted(members, key=lambda run: run.seed)), label))
    return variants


def _key(run: Run, blind: Collection[str]) -> str:
    config = run.record.config
    unseen = {*blind, *config.operational, *fields.compared("never")}
    visible = {name: value for name, value in fields.values(config).items() if name not in unseen}
    return json.dumps([run.record.data.fingerprint, visible], sort_keys=True)
