"""Groups runs: seeds of one configuration into a variant, variants that may be compared into a comparison.

- A *variant* is everything in the configuration but the seed, on one data set.
- Variants differ in *setting* where they differ in more than the net, the warm-up that belongs to a depth, how often a
  run evaluates, and how it runs (`ExperimentConfig.operational`). One table compares one setting. Which field is which,
  its role says: see `compared` in config/section.py.
- Settings that differ only in iterations, rate and its drops belong to one *comparison*: the one with the most
  nets, and of those the one with the most iterations, is its base, the others are its control, "is it degradation or
  only too little training?".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_jax.config import ExperimentConfig, ModelConfig, flatten, to_dict
from resnet_jax.reports.runs import Run
from resnet_jax.reports.stats import Summary

Measure = Callable[[Run], float | None]


def _compared(*ways: str) -> frozenset[str]:
    """The fields that are compared in one of these ways."""
    return frozenset(ExperimentConfig.fields_where(lambda role: role.compared in ways))


# "Degradation" is about layers added to a net that already works (He et al. 2015, Sec. 1); the paper's own CIFAR
# curves start at 20 layers, and a net of 8 may be too small for its task. Depth is counted from there.
BASE_DEPTH = 20


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
class Comparison:
    """Nets that differ in nothing but what they are, and the control with other budgets and rates."""

    cells: tuple[Variant, ...]
    """By depth, plain before residual."""
    others: tuple[Variant, ...]
    """The same nets in other budgets or at other rates, by net, depth, iterations and rate."""

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


def comparisons(runs: Iterable[Run]) -> tuple[Comparison, ...]:
    """Every run in its variant, every variant in its comparison; the comparison with most nets first."""
    variants: dict[str, list[Run]] = {}
    for run in runs:
        variants.setdefault(_key(run, _compared("seed")), []).append(run)
    groups: dict[str, dict[str, list[list[Run]]]] = {}
    setting_blind = _compared("seed", "net", "shortcut", "warm-up", "bookkeeping")
    for members in variants.values():
        group = groups.setdefault(_key(members[0], setting_blind | _compared("budget")), {})
        group.setdefault(_key(members[0], setting_blind), []).append(members)
    found = [_comparison(list(group.values())) for group in groups.values()]
    return tuple(sorted(found, key=lambda comparison: -len(comparison.cells)))


def _comparison(settings: Sequence[list[list[Run]]]) -> Comparison:
    def nets(setting: list[list[Run]]) -> int:
        return len({(m[0].record.config.model.net, m[0].record.config.model.depth) for m in setting})

    base = max(settings, key=lambda s: (nets(s), s[0][0].record.config.train.iterations))
    cells = _variants(base)
    # In the control a schedule is told beside each net, so it is no part of a name.
    others = [
        v for setting in settings if setting is not base for v in _variants(setting, unnamed=_compared("warm-up"))
    ]
    return Comparison(
        tuple(sorted(cells, key=lambda v: (v.depth, not v.is_plain, v.net))),
        tuple(sorted(others, key=lambda v: (not v.is_plain, v.net, v.depth, v.iterations, -v.rate))),
    )


def _variants(setting: list[list[Run]], unnamed: Collection[str] = ()) -> list[Variant]:
    """Variants of one setting, their nets named apart where depth and kind alone would not do it."""
    named: dict[tuple[str, int], list[list[Run]]] = {}
    for members in setting:
        model = members[0].record.config.model
        named.setdefault((model.net, model.depth), []).append(members)
    variants = []
    for (net, _), alike in named.items():
        flats = [_flat(members[0]) for members in alike]
        names = [name for name in flats[0] if name != "seed" and name not in unnamed]
        apart = [name for name in names if any(f[name] != flats[0][name] for f in flats)]
        for members, flat in zip(alike, flats, strict=True):
            label = f"{net} ({', '.join(f'{name}={flat[name]}' for name in apart)})" if apart else net
            variants.append(Variant(tuple(sorted(members, key=lambda run: run.seed)), label))
    return variants


def _flat(run: Run) -> dict[str, Any]:
    return flatten(to_dict(run.record.config))


def _key(run: Run, blind: Collection[str]) -> str:
    config = run.record.config
    unseen = {*blind, *config.operational, *_compared("never")}
    # A record of an earlier version may claim what had no effect.
    flat = _flat(run) | {name: config.default(name) for name in config.without_effect()}
    fields = {name: value for name, value in flat.items() if name not in unseen}
    return json.dumps([run.record.data.fingerprint, fields], sort_keys=True)
