"""The task of one contestant, as plain data; the contestant's process receives it as JSON."""

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
"""The two sides in the comparison of single convolutions."""
TUNED = "+malloc"
STEP_ALONE = "step alone"
"""The contestant in epochs that repeats one batch, without the loop's data."""


IMAGES: dict[str, tuple[int, int, int]] = {
    "digits": (8, 8, 1),
    "cifar-16": (16, 16, 3),
    "cifar": (32, 32, 3),
    "imagenet": (224, 224, 3),
}
"""Height, width and channels, by name. By default a family of nets has the images of its own name."""
CLASSES = {"cifar": 10, "imagenet": 1000}
SEED = 0
LEARNING_RATE = 0.01
"""A low learning rate: on one batch of noise a high one would diverge, and the timed values would be NaN."""


@dataclass(frozen=True)
class Spec:
    """One contestant in one case."""

    task: Task
    contestant: str
    """ "resnet_jax", "flax", "torch-eager" or "torch-compiled"; "resnet_jax:FIELD=VALUE,..." changes our configuration,
    and "+malloc" after a peer's name gives it the settings of malloc that our own commands give themselves. For
    a limit: the measured operation, and the library. For a loop: its parts."""
    config: ExperimentConfig
    phase: Phase = "train"
    steps: int = 1
    """Number of steps that are timed together; in a loop, all steps of an epoch."""
    warmup: int = 2
    """Number of rounds of `steps` before the first counted one."""
    platform: str = ""
    """ "cpu" or "gpu": JAX's platform, which PyTorch then uses too; "": any."""
    images: Images | None = None
    """Name of the images' shape; None: the family's own."""

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
        """Whether the process has our settings of malloc; for our own commands always."""
        return self.task in ("loop", "breakdown", "processes") or self.name == OURS or self.contestant.endswith(TUNED)

    def to_json(self) -> str:
        """The spec as one line of JSON."""
        return json.dumps({**dataclasses.asdict(self), "config": to_dict(self.config)})

    @staticmethod
    def from_json(line: str) -> Spec:
        """The spec that `to_json` gave."""
        values = json.loads(line)
        return Spec(**{**values, "config": from_dict(values["config"])})


def step_config(net: NetName, batch_size: int, dtype: Dtype) -> ExperimentConfig:
    """The configuration that every contestant computes: the paper's net and recipe, without parts that peers lack.

    BN takes the whole batch, since only our nets have the paper's groups; there is no augmentation.

    Raises:
      UserError: the batch size is not legal.
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
    """Applies the changes in a contestant's name to `config`; only names of resnet_jax may have changes.

    Raises:
      UserError: the contestant is unknown, or its changes are not legal.
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
    """The default contestants; for compilation also each of our ways to express stages."""
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
