"""How a net is trained: the optimizer and its rates, and the net in a file that a run may start from."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Literal

from resnet_jax.config.section import BUDGET, RECIPE, WARM_UP, Condition, Section, field, only_with

_WITH_WEIGHTS = Condition(lambda finetune: finetune.weights is not None, "finetune.weights")
_WITH_WARM_UP = only_with("optim.warmup", "iterations", "error")
_UNTIL_ITERATIONS, _UNTIL_ERROR = only_with("optim.warmup", "iterations"), only_with("optim.warmup", "error")


@dataclass(frozen=True)
class FinetuneConfig(Section):
    """A start from a net in a file, with a new last layer, in the place of random values."""

    _section: typing.ClassVar[str] = "finetune"

    weights: str | None = field(None, RECIPE)
    """A folder written by experiments.convert, a finished run's directory, or a PyTorch state dict (.safetensors, .pt,
    .pth, .th); None: random values. Its net must be that of `model`, whatever its number of classes."""
    frozen_stages: int = field(0, RECIPE, needs=_WITH_WEIGHTS)
    """The stem and this many stages, from the first, stay as they are: no gradient, no decay, and batch norms in eval
    mode, so that their running statistics stay too. With all stages frozen only the last layer is trained."""
    stage_rates: tuple[float, ...] = field((), RECIPE, needs=_WITH_WEIGHTS)
    """Factors of the learning rate, one for each stage; the stem has the first stage's, the last layer 1. Empty: 1."""

    def _check(self) -> None:
        self._require(self.frozen_stages >= 0, "frozen_stages", "a whole number of at least 0")
        self._require(all(rate > 0.0 for rate in self.stage_rates), "stage_rates", "numbers above 0")


@dataclass(frozen=True)
class OptimConfig(Section):
    """SGD with momentum; rates in iterations, as in the papers. Defaults: He et al. 2015, Sec. 4.2."""

    _section: typing.ClassVar[str] = "optim"

    learning_rate: float = field(0.1, BUDGET)
    momentum: float = field(0.9, RECIPE)
    weight_decay: float = field(1e-4, RECIPE)
    """L2 decay on all parameters, BN scales and biases included, as in the paper."""
    milestones: tuple[int, ...] = field((32_000, 48_000), BUDGET)
    """Iterations at which the rate is multiplied by `decay_factor`."""
    decay_factor: float = field(0.1, RECIPE, needs=Condition(lambda optim: bool(optim.milestones), "optim.milestones"))
    warmup: Literal["none", "iterations", "error"] = field("none", WARM_UP, open_in_papers=True)
    """"iterations": `warmup_rate` for `warmup_iterations` (2016, Appendix); "error": until training error falls below
    `warmup_error` (2015, Sec. 4.2, ResNet-110), by a running estimate."""
    warmup_rate: float = field(0.01, WARM_UP, needs=_WITH_WARM_UP)
    warmup_iterations: int = field(400, WARM_UP, needs=_UNTIL_ITERATIONS, open_in_papers=True)
    warmup_error: float = field(0.8, WARM_UP, needs=_UNTIL_ERROR)
    """Training error, a fraction, below which the warm-up "error" ends for good."""
    warmup_smoothing: float = field(0.9, WARM_UP, needs=_UNTIL_ERROR, open_in_papers=True)
    """Running estimate of training error: e <- s * e + (1 - s) * error of the batch, from 1. The paper names none."""

    def _check(self) -> None:
        for name in ("learning_rate", "warmup_rate"):
            self._require(getattr(self, name) > 0.0, name, "a number above 0")
        for name in ("momentum", "warmup_smoothing"):
            self._require(0.0 <= getattr(self, name) < 1.0, name, f"0 <= {name} < 1")
        self._require(self.weight_decay >= 0.0, "weight_decay", "a number of at least 0")
        self._require(0.0 < self.decay_factor <= 1.0, "decay_factor", "0 < decay_factor <= 1")
        rising = all(a < b for a, b in zip((0, *self.milestones), self.milestones, strict=False))
        self._require(rising, "milestones", "whole numbers above 0, each above the one before")
        self._require(self.warmup_iterations >= 1, "warmup_iterations", "a whole number above 0")
        self._require(0.0 < self.warmup_error <= 1.0, "warmup_error", "0 < warmup_error <= 1")
