"""The description of one contestant in one case, as plain data. The contestant's process gets it as JSON."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from dataclasses import dataclass
from typing import Literal

from experiments.study import parse_changes
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
"""The libraries whose single convolutions are compared."""
TUNED = "+malloc"
STEP_ALONE = "step alone"
"""Name of the contestant that repeats the step on one batch, while the others train an epoch."""


IMAGES: dict[str, tuple[int, int, int]] = {
    "digits": (8, 8, 1),
    "cifar-16": (16, 16, 3),
    "cifar": (32, 32, 3),
    "imagenet": (224, 224, 3),
}
"""(height, width, channels) of images, by name. The default is the name of the net's family: cifar or imagenet."""
CLASSES = {"cifar": 10, "imagenet": 1000}
SEED = 0
LEARNING_RATE = 0.01
"""The rate is low, because training on one batch of random images diverges to NaN with a high rate."""


@dataclass(frozen=True)
class Spec:
    """One contestant in one case of the benchmark."""

    task: Task
    contestant: str
    """Name such as "flax", "torch-eager+malloc" or "resnet_jax:model.remat=True". With the task "limit": the measured
    operation and the library. With the task "loop": what the loop includes."""
    config: ExperimentConfig
    phase: Phase = "train"
    steps: int = 1
    """Number of steps that are timed together. The task "loop" times all steps of an epoch instead."""
    warmup: int = 2
    """Number of rounds before the first timed round."""
    platform: str = ""
    """Platform of JAX, which PyTorch must use too: "cpu" or "gpu"; "": any."""
    images: Images | None = None
    """Name of the image shape; None: the name of the net's family."""

    @property
    def name(self) -> str:
        """The name of the contestant, without its configuration changes and without "+malloc"."""
        return self.contestant.removesuffix(TUNED).split(":")[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images."""
        return IMAGES[self.images or self.config.model.family]

    @property
    def tuned(self) -> bool:
        """Whether the process gets the settings of malloc that this project's commands use."""
        return self.task in ("loop", "breakdown", "processes") or self.name == OURS or self.contestant.endswith(TUNED)

    def to_json(self) -> str:
        return json.dumps({**dataclasses.asdict(self), "config": to_dict(self.config)})

    @staticmethod
    def from_json(line: str) -> Spec:
        values = json.loads(line)
        return Spec(**{**values, "config": from_dict(values["config"])})


def step_config(net: NetName, batch_size: int, dtype: Dtype) -> ExperimentConfig:
    """Makes the configuration of a case, with the paper's net and optimizer. All contestants of the case use it.

    Batch norm uses the whole batch, and there is no augmentation: the peers support only this.

    Raises:
      UserError: the batch size is not legal.
    """
    kind, _, depth = net.partition("-")
    # A CIFAR net could have 50 = 6n+2 layers, but "ResNet-50" is the ImageNet net (2015, Table 1).
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
    """Applies the changes in a contestant's name, such as "resnet_jax:model.remat=True", to a configuration.

    Raises:
      UserError: the contestant is unknown, its changes are not legal, or a peer has changes.
    """
    name, colon, changes = contestant.removesuffix(TUNED).partition(":")
    legal = [OURS, FLAX, *TORCH]
    if name not in legal:
        raise UserError(f"contestants: got {contestant!r}; {nearest(name, legal)}")
    if name == OURS and contestant.endswith(TUNED):
        raise UserError(
            f"contestants: got {contestant!r}; legal: {OURS}, which always runs with the settings of {TUNED}."
        )
    if not colon:
        return config
    if name != OURS:
        raise UserError(f"contestants: got {contestant!r}; legal: {name} without changes.")
    return override(config, parse_changes(config, changes))


def default_contestants(task: Task) -> tuple[str, ...]:
    """The names of the default contestants, for the task "step" or "compile"."""
    if task == "step":
        return (OURS, FLAX, *TORCH, f"{TORCH[0]}{TUNED}")
    return f"{OURS}:model.stages=unrolled", f"{OURS}:model.stages=scanned", FLAX


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None
