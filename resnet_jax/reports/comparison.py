"""Groups of runs for a report: seeds of one configuration (`Variant`), and nets to compare (`Comparison`)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.reports import fields
from resnet_jax.reports.runs import Run
from resnet_jax.reports.stats import Summary

Measure = Literal["train_error", "running_error", "test_error"]
"""Properties of a run that reports compare."""
MEASURES: dict[Measure, str] = {
    "train_error": "training error",
    "running_error": "running training error",
    "test_error": "test error",
}
"""Names of the measures in texts."""
FINAL_MEASURES: tuple[Measure, ...] = ("train_error", "test_error")
"""Measures of the net after the last step."""

# "Degradation" is about layers added to a net that already works (He et al. 2015, Sec. 1). The paper's CIFAR curves
# start at 20 layers, and a net of 8 layers may be too small for its task. So the baseline has at least 20 layers.
BASE_DEPTH = 20


@dataclass(frozen=True)
class Variant:
    """The runs of one configuration, one for each seed."""

    runs: tuple[Run, ...]
    """The runs, ordered by seed."""
    net: str
    """Kind of net, such as "plain" or "resnet"; with a field in brackets if the kind alone is ambiguous."""
    label: str = ""
    """The fields that differ from the baseline, in words; "baseline" for the baseline itself, and the net's name for
    a single variant. Empty in a comparison of depths."""

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
        """Name of the net, such as "plain-56"."""
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
        """The learning rate, and whether there is a warm-up: "0.1", "0.1 with warm-up"."""
        return f"{self.rate:g}" + (" with warm-up" if self.config.optim.warmup != "none" else "")

    @property
    def finished(self) -> tuple[Run, ...]:
        """Runs that reached their last step."""
        return tuple(run for run in self.runs if not run.diverged)

    @property
    def diverged(self) -> int:
        """Number of runs that diverged."""
        return len(self.runs) - len(self.finished)

    def by_seed(self, measure: Measure) -> dict[int, float]:
        """A measure by seed, for the finished runs that have it."""
        measured = {run.seed: getattr(run, measure) for run in self.finished}
        return {seed: value for seed, value in measured.items() if value is not None}

    def summary(self, measure: Measure) -> Summary | None:
        """Mean and spread of a measure over the finished runs; None without such runs."""
        values = tuple(self.by_seed(measure).values())
        return Summary(values) if values else None


@dataclass(frozen=True)
class Axis:
    """A numeric field on the x-axis of a comparison's figure."""

    field: str
    """Dotted name of the field."""
    lines: tuple[tuple[str, tuple[Variant, ...]], ...]
    """Label and points of each line, ordered by the field's value. A single line has an empty label."""

    def value(self, variant: Variant) -> float:
        """The value of the field for a variant."""
        return float(fields.values(variant.config)[self.field])

    def reference(self, points: tuple[Variant, ...]) -> Variant:
        """The point with which the other points of a line are compared: at the field's default, or else the first."""
        default = fields.values(ExperimentConfig())[self.field]
        return next((point for point in points if self.value(point) == default), points[0])

    @property
    def logarithmic(self) -> bool:
        """Whether a logarithmic axis fits: the values span a decade or more, or each is twice the one before."""
        found = sorted({self.value(variant) for _, points in self.lines for variant in points})
        doubling = len(found) > 3 and all(b >= 1.7 * a for a, b in itertools.pairwise(found))
        return found[0] > 0.0 and (found[-1] >= 10.0 * found[0] or doubling)


@dataclass(frozen=True)
class Comparison:
    """Nets on one data set, with the question for which they are compared."""

    question: Literal["depth", "fields"]
    """"depth": the papers' question. "fields": the effect of the fields that differ."""
    varied: tuple[str, ...]
    """The fields that differ between the cells."""
    cells: tuple[Variant, ...]
    """The variants to compare. For "depth": ordered by depth, plain before residual. For "fields": line by line with
    an axis; without an axis the baseline first, then in the study's order."""
    others: tuple[Variant, ...] = ()
    """For "depth": the same nets with other budgets or rates, ordered by net, depth, iterations and rate."""
    axis: Axis | None = None
    """For "fields": the numeric field on the x-axis; None: each variant is a row."""

    @property
    def baseline(self) -> Variant:
        """The variant with which the others are compared, for the question "fields" without an axis."""
        return self.cells[0]

    @property
    def nets(self) -> tuple[str, ...]:
        """Kinds of net, plain first."""
        return tuple(dict.fromkeys(cell.net for cell in sorted(self.cells, key=lambda c: (not c.is_plain, c.net))))

    def of_net(self, net: str) -> tuple[Variant, ...]:
        """The cells of one kind of net, ordered by depth."""
        return tuple(cell for cell in self.cells if cell.net == net)

    def base_cell(self, net: str) -> Variant:
        """The baseline for depth: the shallowest net of at least 20 layers, if a deeper one exists.

        Otherwise it is the shallowest net."""
        cells = self.of_net(net)
        return next((cell for cell in cells[:-1] if cell.depth >= BASE_DEPTH), cells[0])

    def deeper_cells(self, net: str) -> tuple[Variant, ...]:
        """The cells of one kind of net that are deeper than its base."""
        return tuple(cell for cell in self.of_net(net) if cell.depth > self.base_cell(net).depth)

    def twins(self) -> tuple[tuple[Variant, Variant], ...]:
        """Pairs of a plain net and a residual net that differ only in their shortcuts."""
        return tuple(
            (plain, other)
            for plain in self.cells
            for other in self.cells
            if plain.is_plain
            and not other.is_plain
            and _beside_shortcuts(plain.config.model) == _beside_shortcuts(other.config.model)
        )


def _beside_shortcuts(model: ModelConfig) -> list[Any]:
    """The properties that a plain net and its residual twin share."""
    names = ModelConfig.fields_where(lambda role: role.compared == "net")
    return [model.block_kind if name == "block" else model.value(name) for name in names]
