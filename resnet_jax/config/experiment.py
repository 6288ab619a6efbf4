"""The configuration of a whole run, and its sections about the training loop and the devices."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Literal

from resnet_jax.config.data import DataConfig
from resnet_jax.config.model import ModelConfig
from resnet_jax.config.optim import FinetuneConfig, OptimConfig
from resnet_jax.config.section import BOOKKEEPING, BUDGET, OPERATIONAL, RECIPE, Condition, Role, Section, field
from resnet_jax.errors import UserError


@dataclass(frozen=True)
class TrainConfig(Section):
    """The training loop: iterations, batch sizes, evaluations, checkpoints."""

    _section: typing.ClassVar[str] = "train"

    iterations: int = field(64_000, BUDGET)
    """Optimizer steps of the run; 64k for CIFAR (He et al. 2015, Sec. 4.2)."""
    batch_size: int = field(128, RECIPE)
    """Images per step, over all devices. The last batch of an epoch is filled with images of the next epoch, so every
    batch is full and no image is left out."""
    accumulation: int = field(1, RECIPE, open_in_papers=True)
    """Number of equal parts into which a batch is divided, for batches that do not fit in memory. The parts are
    computed one after another, and their gradients are averaged. BN normalises each part separately: with the scope
    "ghost" the result equals that of the undivided batch, with "global" and "device" it does not."""
    eval_batch_size: int = field(512, BOOKKEEPING)
    """Images per evaluation step, over all devices; a short last batch is padded with examples of weight 0."""
    eval_every: int = field(1, BOOKKEEPING)
    """Epochs between evaluations on the test set (for curves, never for selection); 0: only after the last step."""
    recompute_batch_stats: bool = field(False, RECIPE)
    """Before the final evaluation, replace BN's running statistics by averages over the training set, as the authors of
    the paper did for the models that they published."""
    checkpoint_steps: int = field(1_000, OPERATIONAL)
    """Steps between checkpoints; 0: only on Ctrl-C, on SIGTERM and at the end."""
    steps_per_dispatch: int | Literal["auto"] = field("auto", OPERATIONAL)
    """Number of training steps that the host starts with one call; the results are equal up to rounding. "auto": 1 on a
    CPU or with images on the host, otherwise the number in training/program.py."""
    keep_checkpoints: int = field(2, OPERATIONAL)
    """Number of newest checkpoints to keep; older ones are deleted."""
    keep_every: int = field(0, OPERATIONAL)
    """Also keep older checkpoints whose step is a multiple of this number; 0: keep none of them."""
    gradient_norms_every: int = field(0, RECIPE)
    """Steps between measurements of the norm of the gradient in each layer, which are written to gradients.jsonl. The
    first measurement is at the initial values. 0: no measurements."""

    def _check(self) -> None:
        for name in ("iterations", "batch_size", "accumulation", "eval_batch_size", "keep_checkpoints"):
            self._require(getattr(self, name) >= 1, name, "a whole number above 0")
        at_once = self.steps_per_dispatch
        self._require(at_once == "auto" or at_once >= 1, "steps_per_dispatch", "'auto' or a whole number above 0")
        for name in ("eval_every", "checkpoint_steps", "keep_every", "gradient_norms_every"):
            self._require(getattr(self, name) >= 0, name, "a whole number of at least 0")


_PROCESSES = Condition(lambda parallel: parallel.processes != 1, "parallel.processes")


@dataclass(frozen=True)
class ParallelConfig(Section):
    """Devices and processes of a run."""

    _section: typing.ClassVar[str] = "parallel"

    mode: Literal["jit", "shard_map", "pmap"] = field("jit", OPERATIONAL)
    """How a step is divided over the devices. "jit": by the compiler; "shard_map", "pmap": by the code of this
    project."""
    devices: int = field(1, OPERATIONAL, decides=lambda config: config.statistics_depend_on_devices)
    """Number of devices that share each batch, over all processes."""
    processes: int | Literal["auto"] = field(1, OPERATIONAL)
    """Number of processes, with equal numbers of devices; "auto": as many as Slurm, Open MPI 4 or a TPU pod started."""
    coordinator: str | None = field(None, OPERATIONAL, needs=_PROCESSES)
    """HOST:PORT at which process 0 listens for the other processes, with an IPv6 address in brackets; None: the value
    of the launcher, such as Slurm."""
    process: int | None = field(None, OPERATIONAL, needs=_PROCESSES)
    """The number of this process, from 0; None: the value of the launcher, such as Slurm."""
    start_seconds: float = field(60.0, OPERATIONAL, needs=_PROCESSES)
    """Longest time that processes wait for each other at the start, in seconds."""
    stall_seconds: float = field(300.0, OPERATIONAL, needs=_PROCESSES)
    """Time in seconds after which the run ends if a process sends no heartbeat or makes no progress. After a fifth of
    this time a message names the process."""

    def _check(self) -> None:
        self._require(self.devices >= 1, "devices", "a whole number above 0")
        several = self.processes == "auto" or self.processes >= 1
        self._require(several, "processes", "'auto' or a whole number above 0")
        if self.processes != "auto":
            self._require(
                self.devices % self.processes == 0,
                "devices",
                f"a multiple of parallel.processes={self.processes}, because it counts the devices of the whole run",
            )
        self._require(
            self.mode != "pmap" or self.processes == 1, "mode", "'jit' or 'shard_map', because of parallel.processes"
        )
        self._require(self.process is None or self.process >= 0, "process", "a whole number of at least 0, or None")
        for name in ("start_seconds", "stall_seconds"):
            self._require(getattr(self, name) > 0.0, name, "a number above 0")


@dataclass(frozen=True)
class ExperimentConfig(Section):
    """The configuration of a whole run. Together with the code's version and the device, it determines the result."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    finetune: FinetuneConfig = dataclasses.field(default_factory=FinetuneConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    parallel: ParallelConfig = dataclasses.field(default_factory=ParallelConfig)
    seed: int = field(0, Role("recipe", compared="seed", open_in_papers=True))
    """Random seed for the initial values, the order of the examples and the augmentation."""

    def _check(self) -> None:
        self._require(0 <= self.seed < 2**32, "seed", "a whole number from 0 to 2**32 - 1")
        size, parts = self.train.batch_size, self.parallel.devices * self.train.accumulation
        near = max(1, round(size / parts)) * parts
        shares = f"parallel.devices={self.parallel.devices}"
        if self.train.accumulation > 1:
            shares += f" times train.accumulation={self.train.accumulation}"
        legal = f"a multiple of {parts}, such as {near}"
        self.train._require(size % parts == 0, "batch_size", legal, f"{size}, which {shares} does not divide")
        length, iterations = self.optim.warmup_iterations, self.train.iterations
        self.optim._require(
            self.optim.warmup not in ("iterations", "linear") or length <= iterations,
            "warmup_iterations",
            f"at most train.iterations, which is {iterations:,}, or a share of it such as 0.05",
        )
        part, norm = size // parts, self.model.norm
        legal = f"a multiple of {2 * parts}, because data.mixup and data.cutmix mix images in pairs"
        got = f"{size}, so each device gets {part} images at once"
        self.train._require(not self.data.mixes or part % 2 == 0, "batch_size", legal, got)
        divided = norm.scope != "ghost" or part % norm.ghost_size == 0
        at_once = f"the {part} images that each device gets at once (train.batch_size={size})"
        got = f"{norm.ghost_size}, which does not divide {at_once}"
        norm._require(divided, "ghost_size", f"a divisor of {part}", got)
        if self.data.normalize == "weights" and self.finetune.weights is None:
            raise UserError(
                "data.normalize: got 'weights', but finetune.weights is None; give the file of the pretrained net, "
                "which contains the normalisation."
            )
        if self.finetune.weights is not None:
            self.finetune.check_stages(len(self.model.stage_blocks))

    def in_iterations(self) -> ExperimentConfig:
        """Returns the same configuration, with milestones and warm-up in iterations instead of shares of the run."""
        return dataclasses.replace(self, optim=self.optim.in_iterations(self.train.iterations))

    @property
    def norm_batch(self) -> int:
        """Number of images over which BN computes each mean and variance in training."""
        at_once = self.train.batch_size // self.train.accumulation
        if self.model.norm.scope == "global":
            return at_once
        return at_once // self.parallel.devices if self.model.norm.scope == "device" else self.model.norm.ghost_size

    @property
    def statistics_depend_on_devices(self) -> bool:
        """Whether the groups of images that share batch statistics depend on the number of devices."""
        # With accumulation, each device contributes images to each part of the batch, so the parts depend on the number
        # of devices.
        scope = self.model.norm.scope
        return scope == "device" or (scope == "global" and self.train.accumulation > 1)

    @property
    def operational(self) -> frozenset[str]:
        """Dotted names of the fields that say how this run is carried out, such as `train.checkpoint_steps`.

        Other values of these fields change the results only by rounding. So a run may be resumed with other values. A
        finished run whose configuration differs only in these fields is not trained again.
        """
        return frozenset(
            name
            for name, role in self.roles().items()
            if role.of == "operational" and not (role.decides is not None and role.decides(self))
        )
