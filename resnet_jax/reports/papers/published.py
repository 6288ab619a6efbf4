"""Test errors from He et al. 2015 (arXiv 1512.03385) and 2016 (arXiv 1603.05027), on CIFAR-10 and CIFAR-100."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from resnet_jax.config import ModelConfig

FAILS = 0.2
"""A net fails "when the test error is higher than 20%" (He et al. 2016, Table 1)."""


@dataclass(frozen=True)
class PaperResult:
    """A test error that a paper reports."""

    test_error: float | None
    """A fraction from 0 to 1; None if the paper says that the net fails."""
    std: float | None = None
    """Standard deviation over the paper's runs; None if the paper gives none."""
    source: str = ""


@dataclass(frozen=True)
class PaperRow:
    """A line of a paper's table."""

    case: str
    """The paper's name for the line."""
    changes: Mapping[str, Any]
    """Fields of the line's net that differ from a residual net, by dotted name, without the depth."""
    results: Mapping[int, PaperResult]
    """The test errors, by depth."""

    def result(self, model: ModelConfig) -> PaperResult:
        """The paper's result at the depth of a net.

        If the line has no result at this depth, returns the result at another depth, preferably a depth with the same
        kind of block.
        """
        near = [depth for depth in self.results if block_of(depth) == model.block_kind] or list(self.results)
        return self.results[model.depth if model.depth in self.results else near[0]]


@dataclass(frozen=True)
class PaperTable:
    """A paper's table of test errors."""

    source: str
    subject: str
    """What the lines of the table compare, as a heading: "Shortcuts"."""
    rows: tuple[PaperRow, ...]
    data: Mapping[str, Any]
    """Fields of DataFacts that identify the paper's data set."""
    warmups: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Legal values of `optim.warmup` by depth, for depths where they differ from `warmup`."""
    warmup: tuple[str, ...] = ("iterations",)
    """Legal values of `optim.warmup`."""

    def row(self, model: ModelConfig) -> PaperRow | None:
        """The line for a net, whatever its depth and data; None if no line has this net."""
        return next((row for row in self.rows if net_fields(model) == net_fields(model, row.changes)), None)


def net_fields(model: ModelConfig, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fields that identify a net in a paper's table, without fields that the papers leave open, such as the depth.

    Args:
      model: configuration of the net.
      changes: values of fields, by dotted name. The result then identifies another net. It has the family, depth and
        block of `model`, these values, and default values in all other fields. With None, the result identifies
        `model`.
    """
    if changes is not None:
        given = {name.removeprefix("model."): value for name, value in changes.items()}
        # A net of the same depth, so that "identity" has the same meaning for both nets.
        model = dataclasses.replace(ModelConfig(family=model.family, depth=model.depth, block=model.block), **given)
    identity = {"basic": "A", "bottleneck": "B"}[model.block_kind]
    shortcut = identity if model.shortcut == "identity" else model.shortcut
    names = ModelConfig.fields_where(lambda role: role.compared in ("net", "shortcut") and not role.open_in_papers)
    fields = {f"model.{name}": model.value(name) for name in names}
    return fields | {"model.shortcut": shortcut, "model.cut": list(model.cut)}


def block_of(depth: int) -> str:
    """The kind of block in the papers' CIFAR nets: "bottleneck" for 164 and 1001 layers, "basic" for other depths."""
    return "bottleneck" if depth in (164, 1001) else "basic"


def _results(source: str, **per_cent: float | None) -> dict[int, PaperResult]:
    """Makes results by depth from errors in per cent, such as d110=6.61. None means that the net fails."""
    return {int(k[1:]): PaperResult(None if e is None else e / 100, source=source) for k, e in per_cent.items()}


_FACTS = {"image_shape": (32, 32, 3), "train_examples": 50_000, "test_examples": 10_000}
CIFAR10 = {"name": "CIFAR-10", "num_classes": 10, **_FACTS}
CIFAR100 = {"name": "CIFAR-100", "num_classes": 100, **_FACTS}

# ResNets with option A. 110 layers: "6.61 ± 0.16", mean of five runs; the best run has 6.43. Plain nets are in
# Fig. 6 alone. The 110-layer net starts at rate 0.01. The 1202-layer net is "trained as described above", which may
# or may not include the lower rate at the start.
_T6 = "He et al. 2015, Table 6"
TABLE_6 = PaperTable(
    _T6,
    "Depth",
    (
        PaperRow(
            "ResNet",
            {"model.shortcut": "A"},
            {
                **_results(_T6, d20=8.75, d32=7.51, d44=7.17, d56=6.97),
                110: PaperResult(0.0661, 0.0016, _T6),
                **_results(_T6, d1202=7.93),
            },
        ),
    ),
    CIFAR10,
    warmups={110: ("error",), 1202: ("none", "error")},
    warmup=("none",),
)


def _shortcut(case: str, error: float | None, shortcut: str, **fields: float) -> PaperRow:
    changes = {"model.shortcut": shortcut, **{f"model.{name}": value for name, value in fields.items()}}
    return PaperRow(case, changes, _results(_T1, d110=error))


# Medians of five runs of ResNet-110; all units have the line's shortcut. Constant scaling: factors on shortcut and F.
_T1 = "He et al. 2016, Table 1"
TABLE_1 = PaperTable(
    _T1,
    "Shortcuts",
    (
        _shortcut("original", 6.61, "identity"),
        _shortcut("constant scaling (0, 1)", None, "none"),  # "This is a plain net"
        _shortcut("constant scaling (0.5, 1)", None, "scale", shortcut_scale=0.5),
        _shortcut("constant scaling (0.5, 0.5)", 12.35, "scale", shortcut_scale=0.5, residual_scale=0.5),
        # The table's line is "init b_g = 0 to -5"; here 0 represents all six values.
        _shortcut("exclusive gating (b = 0)", None, "exclusive_gate", gate_bias=0.0),
        _shortcut("exclusive gating (b = \N{MINUS SIGN}6)", 8.70, "exclusive_gate", gate_bias=-6.0),
        _shortcut("exclusive gating (b = \N{MINUS SIGN}7)", 9.81, "exclusive_gate", gate_bias=-7.0),
        _shortcut("shortcut-only gating (b = 0)", 12.86, "shortcut_gate", gate_bias=0.0),
        _shortcut("shortcut-only gating (b = \N{MINUS SIGN}6)", 6.91, "shortcut_gate", gate_bias=-6.0),
        _shortcut("1\N{MULTIPLICATION SIGN}1 conv shortcut", 12.22, "C"),
        _shortcut("dropout shortcut", None, "dropout", shortcut_dropout=0.5),
    ),
    CIFAR10,
)


def _order(case: str, order: str, results: Mapping[int, PaperResult]) -> PaperRow:
    return PaperRow(case, {"model.shortcut": "identity", "model.activation_order": order}, results)


_T2 = "He et al. 2016, Table 2"
TABLE_2 = PaperTable(
    _T2,
    "Orders of activations",
    (
        _order("original", "original", _results(_T2, d110=6.61, d164=5.93)),
        _order("BN after addition", "bn_after_addition", _results(_T2, d110=8.17, d164=6.50)),
        _order("ReLU before addition", "relu_before_addition", _results(_T2, d110=7.84, d164=6.14)),
        _order("ReLU-only pre-activation", "relu_only_preactivation", _results(_T2, d110=6.71, d164=5.91)),
        _order("full pre-activation", "full_preactivation", _results(_T2, d110=6.37, d164=5.46)),
    ),
    CIFAR10,
)

_T3 = "He et al. 2016, Table 3"
TABLE_3_CIFAR10 = PaperTable(
    _T3,
    "Pre-activation",
    (
        _order("original", "original", _results(_T3, d1001=7.61)),
        _order("pre-activation", "full_preactivation", {1001: PaperResult(0.0492, source=_T3)}),
    ),
    CIFAR10,
)
TABLE_3_CIFAR100 = PaperTable(
    _T3,
    "Pre-activation",
    (
        _order("original", "original", _results(_T3, d164=25.16, d1001=27.82)),
        _order("pre-activation", "full_preactivation", _results(_T3, d164=24.33, d1001=22.71)),
    ),
    CIFAR100,
)

TABLES = (TABLE_6, TABLE_1, TABLE_2, TABLE_3_CIFAR10, TABLE_3_CIFAR100)
