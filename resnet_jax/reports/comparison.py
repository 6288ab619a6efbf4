"""Seeds of one configuration, nets that are compared, and the measures that they are compared in."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.reports import fields
from resnet_jax.reports.runs import Run
from resnet_jax.reports.stats import Summary

Measure = Literal["train_error", "running_error", "test_error"]
"""A property of a run."""
MEASURES: dict[Measure, str] = {
    "train_error": "training error",
    "running_error": "running training error",
    "test_error": "test error",
}
"""What a reader calls each."""
FINAL_MEASURES: tuple[Measure, ...] = ("train_error", "test_error")
"""Those of the net of the last step."""

# "Degradation" is about layers added to a net that already works (He et al. 2015, Sec. 1); the paper's own CIFAR
# curves start at 20 layers, and a net of 8 may be too small for its task. Depth is counted from there.
BASE_DEPTH = 20


@dataclass(frozen=True)
class Variant:
    """The seeds of one configuration."""

    runs: tuple[Run, ...]
    """In order of their seeds."""
    net: str
    """Kind of net, such as "plain" or "resnet"; with a field in brackets where the kind alone would be ambiguous."""
    label: str = ""
    """The fields in which it differs from the baseline, in words; "baseline" for that one, and the net's name where
    it is the only one. Empty in a comparison of depths."""

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
        measured = {run.seed: getattr(run, measure) for run in self.finished}
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

    def reference(self, points: tuple[Variant, ...]) -> Variant:
        """The point of a line that its others are compared with: that of the field's default, or else the first."""
        default = fields.values(ExperimentConfig())[self.field]
        return next((point for point in points if self.value(point) == default), points[0])

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
    """For "depth": by depth, plain before residual. For "fields": line by line where there is an axis; elsewhere the
    baseline first, then in the study's order."""
    others: tuple[Variant, ...] = ()
    """For "depth": the same nets in other budgets or at other rates, by net, depth, iterations and rate."""
    axis: Axis | None = None
    """For "fields": the numeric field that is an axis; None: each variant is a row."""

    @property
    def baseline(self) -> Variant:
        """The variant that the others are compared with, for the question "fields" without an axis."""
        return self.cells[0]

    @property
    def nets(self) -> tuple[str, ...]:
        """Kinds of net, plain first."""
        return tuple(dict.fromkeys(cell.net for cell in sorted(self.cells, key=lambda c: (not c.is_plain, c.net))))

    def of_net(self, net: str) -> tuple[Variant, ...]:
        """The cells of one kind of net, by depth."""
        return tuple(cell for cell in self.cells if cell.net == net)

    def base_cell(self, net: str) -> Variant:
        """The baseline for depth: the shallowest net of at least 20 layers that has a deeper one beside it.

        Without such a net it is the shallowest."""
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
