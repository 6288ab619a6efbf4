"""The optimizer of a run, its learning rate, and the pretrained net that the run starts from."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Literal

from resnet_jax.config.section import BUDGET, RECIPE, WARM_UP, Condition, Section, field, only_with
from resnet_jax.text import plural

_WITH_WEIGHTS = Condition(lambda finetune: finetune.weights is not None, "finetune.weights")
_WITH_WARM_UP = only_with("optim.warmup", "iterations", "error", "linear")
_UNTIL_ITERATIONS = only_with("optim.warmup", "iterations", "linear")
_UNTIL_ERROR = only_with("optim.warmup", "error")
_ITERATIONS_OR_SHARE = "a whole number of iterations above 0, or a share of the run between 0 and 1, such as 0.05"


@dataclass(frozen=True)
class FinetuneConfig(Section):
    """Fine-tuning: a run starts from the pretrained net in a file. The last layer starts from random values."""

    _section: typing.ClassVar[str] = "finetune"

    weights: str | None = field(None, RECIPE, is_path=True)
    """A folder written by experiments.convert, a finished run's directory, or a PyTorch state dict (.safetensors, .pt,
    .pth, .th); None: the run starts from random values. The net in the file must be the net of `model`; only the number
    of classes may differ."""
    frozen_stages: int = field(0, RECIPE, needs=_WITH_WEIGHTS)
    """Number of stages that are not trained, counted from the first; with at least one, the stem is not trained either.
    Frozen parameters get no gradient and no weight decay, and frozen batch norms work as in evaluation. If all stages
    are frozen, only the last layer is trained."""
    stage_rates: tuple[float, ...] = field((), RECIPE, needs=_WITH_WEIGHTS)
    """Factors on the learning rate, one for each stage. The stem has the factor of the first stage; the last layer has
    the factor 1. Empty: all factors are 1."""

    def _check(self) -> None:
        self._require(self.frozen_stages >= 0, "frozen_stages", "a whole number of at least 0")
        self._require(all(rate > 0.0 for rate in self.stage_rates), "stage_rates", "numbers above 0")

    def check_stages(self, stages: int) -> None:
        """Raises UserError if the fields do not fit a net with `stages` stages."""
        rates, frozen = self.stage_rates, self.frozen_stages
        self._require(frozen <= stages, "frozen_stages", f"0 to {stages}, the net's stages")
        legal = f"{stages}, one for each stage of the net"
        self._require(not rates or len(rates) == stages, "stage_rates", legal, plural(len(rates), "number"))
        legal = (
            f"1 for the first {frozen} of them, because finetune.frozen_stages={frozen}: these stages are not trained"
        )
        own = all(rate == 1.0 for rate in rates[:frozen])
        self._require(own, "stage_rates", legal, ", ".join(map(str, rates)))


@dataclass(frozen=True)
class OptimConfig(Section):
    """SGD with momentum, its learning rate and its loss. Defaults: He et al. 2015, Sec. 4.2."""

    _section: typing.ClassVar[str] = "optim"

    learning_rate: float = field(0.1, BUDGET)
    momentum: float = field(0.9, RECIPE)
    nesterov: bool = field(False, RECIPE, needs=Condition(lambda optim: optim.momentum > 0.0, "optim.momentum > 0"))
    """Use Nesterov's momentum (Sutskever et al. 2013, Sec. 2), in PyTorch's form. Departs from the paper, which uses
    ordinary momentum."""
    weight_decay: float = field(1e-4, RECIPE)
    """Weight decay of the parameters that `decayed` selects: the gradient gets weight_decay * parameter."""
    decayed: Literal["all", "kernels"] = field(
        "all", RECIPE, needs=Condition(lambda optim: optim.weight_decay > 0.0, "optim.weight_decay > 0")
    )
    """Parameters with weight decay. "all": all parameters, including BN's scales and biases, as in the paper;
    "kernels": only the kernels of convolutions and of the last layer (T. He et al. 2019, arXiv 1812.01187, Sec. 3.1).
    "kernels" departs from the paper."""
    clip_norm: float | None = field(None, RECIPE)
    """Largest Euclidean norm of the gradient of the loss, over all parameters and without weight decay. A longer
    gradient is scaled down to this norm (Pascanu et al. 2013, arXiv 1211.5063, Algorithm 1); None: no clipping. Departs
    from the paper, which does not clip."""
    schedule: Literal["steps", "cosine"] = field("steps", RECIPE)
    """"steps": the rate drops at `milestones`; "cosine": the rate falls along half a cosine and reaches 0 at the end of
    the run (Loshchilov and Hutter 2017, arXiv 1608.03983, Eq. 5, without restarts). The cosine starts after the
    warm-ups "iterations" and "linear". "cosine" departs from the paper."""
    milestones: tuple[int | float, ...] = field(
        (32_000, 48_000), BUDGET, needs=Condition(lambda optim: optim.schedule == "steps", "optim.schedule='steps'")
    )
    """Points of the run at which the rate is multiplied by `decay_factor`: iterations (whole numbers), or shares of
    `train.iterations`, such as 0.5 and 0.75."""
    decay_factor: float = field(0.1, RECIPE, needs=Condition(lambda optim: optim.drops, "optim.milestones"))
    warmup: Literal["none", "iterations", "error", "linear"] = field("none", WARM_UP, open_in_papers=True)
    """The learning rate at the start of the run. "iterations": `warmup_rate` for `warmup_iterations` (2016, Appendix);
    "error": `warmup_rate` until a running estimate of the training error falls below `warmup_error` (2015, Sec. 4.2,
    ResNet-110); "linear": the rate rises from `warmup_rate` to `learning_rate` in `warmup_iterations` (Goyal et al.
    2017, arXiv 1706.02677, Sec. 2.2). "linear" departs from the paper."""
    warmup_rate: float = field(0.01, WARM_UP, needs=_WITH_WARM_UP)
    """The learning rate during the warm-up; for "linear", the rate of the first step."""
    warmup_iterations: int | float = field(400, WARM_UP, needs=_UNTIL_ITERATIONS, open_in_papers=True)
    """Length of the warm-up: iterations (a whole number), or a share of `train.iterations`, such as 0.05."""
    warmup_error: float = field(0.8, WARM_UP, needs=_UNTIL_ERROR)
    """Training error, as a fraction, at which the warm-up "error" ends."""
    warmup_smoothing: float = field(0.9, WARM_UP, needs=_UNTIL_ERROR, open_in_papers=True)
    """Smoothing s of the running training error e, which starts at 1: e <- s * e + (1 - s) * error of the batch. The
    paper gives no value."""
    label_smoothing: float = field(0.0, RECIPE)
    """Share of the training target that is divided equally among all classes; the label gets the rest (Szegedy et al.
    2016, arXiv 1512.00567, Sec. 7, with 0.1). Evaluation uses the labels without smoothing. 0: off. Departs from the
    paper."""
    ema: float | None = field(None, RECIPE)
    """Decay of an exponential moving average of the parameters (Polyak and Juditsky 1992; formula in training/ema.py).
    BN's running statistics are averaged in the same way, as in the released code of Inception-v3. None: off. Departs
    from the paper, which evaluates the parameters of the last step."""
    ema_evaluated: bool = field(True, RECIPE, needs=Condition(lambda optim: optim.ema is not None, "optim.ema"))
    """Evaluate and save the averaged parameters; False: evaluate and save the parameters of the last step."""

    def _check(self) -> None:
        for name in ("learning_rate", "warmup_rate"):
            self._require(getattr(self, name) > 0.0, name, "a number above 0")
        for name in ("momentum", "warmup_smoothing"):
            self._require(0.0 <= getattr(self, name) < 1.0, name, f"0 <= {name} < 1")
        self._require(self.weight_decay >= 0.0, "weight_decay", "a number of at least 0")
        self._require(0.0 < self.decay_factor <= 1.0, "decay_factor", "0 < decay_factor <= 1")
        rising = all(a < b for a, b in zip((0, *self.milestones), self.milestones, strict=False))
        alike = all(map(_is_share, self.milestones)) or all(type(m) is int for m in self.milestones)
        legal = "iterations (whole numbers above 0) or shares of the run (between 0 and 1), in increasing order"
        self._require(rising and alike, "milestones", legal)
        length = self.warmup_iterations
        self._require(
            length >= 1 if type(length) is int else _is_share(length), "warmup_iterations", _ITERATIONS_OR_SHARE
        )
        self._require(0.0 < self.warmup_error <= 1.0, "warmup_error", "0 < warmup_error <= 1")
        self._require(self.clip_norm is None or self.clip_norm > 0.0, "clip_norm", "a number above 0, or None")
        self._require(0.0 <= self.label_smoothing < 1.0, "label_smoothing", "0 <= label_smoothing < 1")
        self._require(self.ema is None or 0.0 <= self.ema < 1.0, "ema", "0 <= ema < 1, or None")

    @property
    def drops(self) -> bool:
        """Whether the learning rate drops at milestones."""
        return self.schedule == "steps" and bool(self.milestones)

    def in_iterations(self, iterations: int) -> OptimConfig:
        """Returns a copy in which `milestones` and `warmup_iterations` are in iterations, not in shares of the run.

        A run has `iterations` iterations. Shares are rounded to the nearest iteration. Each milestone is at least
        one iteration after the previous one.
        """
        milestones: list[int] = []
        for milestone in self.milestones:
            least = milestones[-1] + 1 if milestones else 1
            milestones.append(milestone if isinstance(milestone, int) else max(least, round(milestone * iterations)))
        length = self.warmup_iterations
        if not isinstance(length, int):
            length = max(1, round(length * iterations))
        return dataclasses.replace(self, milestones=tuple(milestones), warmup_iterations=length)


def _is_share(value: int | float) -> bool:
    return isinstance(value, float) and 0.0 < value < 1.0
