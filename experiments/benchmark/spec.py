"""What one contestant is told to do, as plain data: it goes to the contestant's process as JSON."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import json
from dataclasses import dataclass
from typing import Any, Literal

from resnet_jax.config import (
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
    from_dict,
    override,
    to_dict,
)
from resnet_jax.errors import UserError
from resnet_jax.text import nearest

NetName = Literal[
    "resnet-8", "resnet-20", "resnet-56", "resnet-110", "resnet-302", "resnet-1202", "resnet-50", "plain-20", "plain-56"
]
Images = Literal["digits", "cifar-16", "cifar", "imagenet"]
Phase = Literal["train", "eval"]
Dtype = Literal["float32", "bfloat16"]
Task = Literal["step", "compile", "loop", "limit", "convolutions", "device", "breakdown", "processes"]

OURS, FLAX, TORCH = "resnet_jax", "flax", ("torch-eager", "torch-compiled")
CONVOLVERS = (OURS, "jax")
"""Whose single convolutions are compared."""
TUNED = "+malloc"
STEP_ALONE = "step alone"
"""The contestant of an epoch's loop that leaves out its data."""


IMAGES: dict[str, tuple[int, int, int]] = {
    "digits": (8, 8, 1),
    "cifar-16": (16, 16, 3),
    "cifar": (32, 32, 3),
    "imagenet": (224, 224, 3),
}
"""Height, width and channels by name. A family of nets has images of its own name, unless others are asked for."""
CLASSES = {"cifar": 10, "imagenet": 1000}
SEED = 0
LEARNING_RATE = 0.01
"""Low: a net that diverges on one batch of noise would be timed on numbers that are none."""


@dataclass(frozen=True)
class Spec:
    """One contestant in one case."""

    task: Task
    contestant: str
    """ "resnet_jax", "flax", "torch-eager" or "torch-compiled"; "resnet_jax:FIELD=VALUE,..." changes our configuration,
    and "+malloc" after a peer's name gives it the settings of malloc that our own commands give themselves. Of a
    limit: what is measured, and by whom. Of a loop: what it includes."""
    config: ExperimentConfig
    phase: Phase = "train"
    steps: int = 1
    """That are timed together; in a loop, those of an epoch are."""
    warmup: int = 2
    """Rounds of `steps` before the first that counts."""
    platform: str = ""
    """ "cpu" or "gpu": where PyTorch shall compute, since JAX does; "": wherever."""
    images: Images | None = None
    """Images of the batch; None: the family's own."""

    @property
    def name(self) -> str:
        """The contestant, without its settings."""
        return self.contestant.removesuffix(TUNED).split(":")[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return IMAGES[self.images or self.config.model.family]

    @property
    def tuned(self) -> bool:
        """Whether its process has our settings of malloc: our commands always do."""
        return self.task in ("loop", "breakdown", "processes") or self.name == OURS or self.contestant.endswith(TUNED)

    def to_json(self) -> str:
        """One line."""
        return json.dumps({**dataclasses.asdict(self), "config": to_dict(self.config)})

    @staticmethod
    def from_json(line: str) -> Spec:
        """The spec that `to_json` gave."""
        values = json.loads(line)
        return Spec(**{**values, "config": from_dict(values["config"])})


def step_config(net: NetName, batch_size: int, dtype: Dtype) -> ExperimentConfig:
    """What every contestant computes: the paper's net and recipe, with what peers do not have left out.

    BN is over the whole batch (the papers' groups are ours alone), and nothing is augmented.

    Raises:
      UserError: a batch size that is none.
    """
    kind, _, depth = net.partition("-")
    # 50 is 6n+2 too, but "ResNet-50" is the ImageNet net, with projections where the shape changes (2015, Table 1).
    family: Literal["cifar", "imagenet"] = "imagenet" if net == "resnet-50" else "cifar"
    return ExperimentConfig(
        model=ModelConfig(
            family=family,
            depth=int(depth),
            shortcut="none" if kind == "plain" else "B" if family == "imagenet" else "A",
            num_classes=CLASSES[family],
            dtype=dtype,
        ),
        data=DataConfig(placement="device"),
        optim=OptimConfig(learning_rate=LEARNING_RATE),
        train=TrainConfig(batch_size=batch_size, eval_batch_size=batch_size),
    )


def configure(contestant: str, config: ExperimentConfig) -> ExperimentConfig:
    """`config` as the contestant's name changes it: only ours may.

    Raises:
      UserError: an unknown contestant, or changes that are none.
    """
    name, colon, changes = contestant.removesuffix(TUNED).partition(":")
    legal = [OURS, FLAX, *TORCH]
    if name not in legal:
        raise UserError(f"contestants: got {contestant!r}; {nearest(name, legal)}")
    if name == OURS and contestant.endswith(TUNED):
        raise UserError(f"contestants: got {contestant!r}; {OURS} has its malloc without being asked.")
    if not colon:
        return config
    if name != OURS:
        raise UserError(f"contestants: got {contestant!r}; legal: changed fields for {OURS} alone, not for {name}.")
    pairs = [change.partition("=") for change in changes.split(",")]
    if not all(field and equals for field, equals, _ in pairs):
        raise UserError(f"contestants: got {contestant!r}; legal: {OURS}:FIELD=VALUE, more of them after commas.")
    return override(config, {field: _literal(value) for field, _, value in pairs})


def default_contestants(task: Task) -> tuple[str, ...]:
    """Who competes where the command line does not say; in compiling, each way of ours to write stages down."""
    if task == "step":
        return (OURS, FLAX, *TORCH, f"{TORCH[0]}{TUNED}")
    return f"{OURS}:model.stages=unrolled", f"{OURS}:model.stages=scanned", FLAX


def has_torch() -> bool:
    """Whether PyTorch is installed here."""
    return importlib.util.find_spec("torch") is not None


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
