"""Groups of runs in a report: a `Variant` has the runs of one configuration, a `Comparison` has variants to compare."""

import itertools
from dataclasses import dataclass
from typing import Any, Literal

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.reports import fields
from resnet_jax.reports.runs import Run
from resnet_jax.reports.stats import Summary

Measure = Literal["train_error", "running_error", "test_error"]
"""The errors of a run that reports compare."""
MEASURES: dict[Measure, str] = {
    "train_error": "training error",
    "running_error": "running training error",
    "test_error": "test error",
}
"""Names of the measures in texts and tables."""
FINAL_MEASURES: tuple[Measure, ...] = ("train_error", "test_error")
"""Measures of the net after the last step."""

# "Degradation" is about layers added to a net that already works (He et al. 2015, Sec. 1). The paper's CIFAR curves
# start at 20 layers, and a net of 8 layers may be too small for its task. So the baseline has at least 20 layers.
BASE_DEPTH = 20


@dataclass(frozen=True)
class Variant:
    """The runs of one configuration, one run for each seed."""

    runs: tuple[Run, ...]
    """The runs, ordered by seed."""
    net: str
    """Kind of net, such as "plain" or "resnet". A field follows in brackets if the kind and depth are ambiguous."""
    label: str = ""
    """The fields that differ from the baseline, in words; "baseline" for the baseline itself, and the net's name for
    a single variant. Empty in a comparison of depths."""

    @property
    def config(self) -> ExperimentConfig:
        """The configuration, with the seed of the first run."""
        return self.runs[0].record.config

    @property
    def depth(self) -> int:
        """Number of layers with weights."""
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
        """Number of optimizer steps of a run."""
        return self.config.train.iterations

    @property
    def rate(self) -> float:
        """Learning rate before its first drop."""
        return self.config.optim.learning_rate

    @property
    def schedule(self) -> str:
        """The learning rate and the warm-up as text, such as "0.1" or "0.1 with warm-up"."""
        return f"{self.rate:g}" + (" with warm-up" if self.config.optim.warmup != "none" else "")

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that reached their last step."""
        return tuple(run for run in self.runs if not run.diverged)

    @property
    def diverged(self) -> int:
        """Number of runs that diverged."""
        return len(self.runs) - len(self.finished)

    def by_seed(self, measure: Measure) -> dict[int, float]:
        """The values of a measure by seed, as fractions. Runs without a value are left out."""
        measured = {run.seed: getattr(run, measure) for run in self.finished}
        return {seed: value for seed, value in measured.items() if value is not None}

    def summary(self, measure: Measure) -> Summary | None:
        """Mean and standard deviation of a measure over the finished runs; None if no run has a value."""
        values = tuple(self.by_seed(measure).values())
        return Summary(values) if values else None


@dataclass(frozen=True)
class Axis:
    """The x-axis of a comparison's figure, with the lines that are drawn along it."""

    field: str
    """Dotted name of the numeric field on the axis."""
    lines: tuple[tuple[str, tuple[Variant, ...]], ...]
    """Label and variants of each line, ordered by the field's value. A single line has an empty label."""

    def value(self, variant: Variant) -> float:
        """The value of the axis's field for a variant."""
        return float(fields.values(variant.config)[self.field])

    def reference(self, points: tuple[Variant, ...]) -> Variant:
        """The variant that the other variants of a line are compared with.

        It is the variant at the field's default value. If there is none, it is the first variant.
        """
        default = fields.values(ExperimentConfig())[self.field]
        return next((point for point in points if self.value(point) == default), points[0])

    @property
    def logarithmic(self) -> bool:
        """Whether the axis is logarithmic.

        A logarithmic axis needs positive values, and one of these conditions:

        - The largest value is at least 10 times the smallest value.
        - There are at least four values, and each is at least 1.7 times the next lower value.
        """
        found = sorted({self.value(variant) for _, points in self.lines for variant in points})
        doubling = len(found) > 3 and all(b >= 1.7 * a for a, b in itertools.pairwise(found))
        return found[0] > 0.0 and (found[-1] >= 10.0 * found[0] or doubling)


@dataclass(frozen=True)
class Comparison:
    """Variants on one data set that are compared to answer one question."""

    question: Literal["depth", "fields"]
    """ "depth": the effect of depth, as in the papers. "fields": the effect of the fields that differ."""
    varied: tuple[str, ...]
    """Dotted names of the fields that differ between the cells."""
    cells: tuple[Variant, ...]
    """The variants to compare. For "depth": by depth, with plain nets before residual nets. For "fields": by line of
    the axis, or without an axis the baseline first and then the study's order."""
    others: tuple[Variant, ...] = ()
    """For "depth": the same nets with other numbers of iterations or other learning rates, ordered by net, depth,
    iterations and rate."""
    axis: Axis | None = None
    """For "fields": the x-axis of the figure. None: the figure has a row for each variant."""

    @property
    def baseline(self) -> Variant:
        """The first variant. If the comparison has no x-axis, all other variants are compared with this one."""
        return self.cells[0]

    @property
    def nets(self) -> tuple[str, ...]:
        """The kinds of net in the comparison, with plain nets first."""
        return tuple(dict.fromkeys(cell.net for cell in sorted(self.cells, key=lambda c: (not c.is_plain, c.net))))

    def of_net(self, net: str) -> tuple[Variant, ...]:
        """The variants of one kind of net, ordered by depth."""
        return tuple(cell for cell in self.cells if cell.net == net)

    def base_cell(self, net: str) -> Variant:
        """The net that deeper nets of its kind are compared with.

        It is the shallowest net with at least 20 layers. If fewer than two nets have at least 20 layers, it is the
        shallowest of all nets.
        """
        cells = self.of_net(net)
        return next((cell for cell in cells[:-1] if cell.depth >= BASE_DEPTH), cells[0])

    def deeper_cells(self, net: str) -> tuple[Variant, ...]:
        """The variants of one kind of net that are deeper than its `base_cell`."""
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
    names = ModelConfig.fields_where(lambda role: role.compared == "net")
    return [model.block_kind if name == "block" else model.value(name) for name in names]
