"""What a run is: frozen, typed configurations, checked where they are built.

Nothing here imports JAX, so a command line can parse, check and explain itself without waiting for it.
Every hyper-parameter of a run is a field of one of these classes; derived values are properties.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from resnet_jax.errors import UserError
from resnet_jax.section import Section

# Blocks per stage of the ImageNet nets (He et al. 2015, Table 1).
IMAGENET_STAGES: Mapping[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
IMAGENET_BASIC_DEPTHS = (18, 34)
# Orders of activations in which a ReLU stands between a residual's last BN and the addition.
RELU_AFTER_LAST_NORM = ("bn_after_addition", "relu_before_addition", "full_preactivation")
# Shortcuts without a number of their own, and the fields that hold the others' numbers.
WITHOUT_NUMBERS = ("none", "A", "B", "C", "identity")
NUMBERS: Mapping[str, str] = {
    "shortcut_scale": "'scale'",
    "gate_bias": "'exclusive_gate' and 'shortcut_gate'",
    "shortcut_dropout": "'dropout'",
}


@dataclass(frozen=True)
class BatchNormConfig(Section):
    """Batch normalisation (Ioffe and Szegedy 2015). Variances are biased, in the batch and in the running average."""

    _section: typing.ClassVar[str] = "model.norm"

    momentum: float = 0.9
    """Weight of the old running statistics: new = momentum * old + (1 - momentum) * batch. PyTorch's 0.1."""
    epsilon: float = 1e-5
    """Added to the variance before the square root."""
    scope: Literal["global", "device", "ghost"] = "global"
    """Who shares batch statistics: all devices, each device by itself, or groups of `ghost_size` images."""
    ghost_size: int = 64
    """Images per group for the scope "ghost"; the paper's: 64 (He et al. 2015, Sec. 4.2: 128 on two GPUs)."""

    def _check(self) -> None:
        self._require(0.0 <= self.momentum < 1.0, "momentum", "0 <= momentum < 1")
        self._require(self.epsilon > 0.0, "epsilon", "a number above 0")
        self._require(self.ghost_size >= 1, "ghost_size", "a whole number above 0")


@dataclass(frozen=True)
class ModelConfig(Section):
    """A net of He et al. 2015 (arXiv 1512.03385) or 2016 (arXiv 1603.05027), or its plain twin."""

    _section: typing.ClassVar[str] = "model"

    family: Literal["cifar", "imagenet"] = "cifar"
    """"cifar": 3x3 stem and three stages (2015, Sec. 4.2); "imagenet": 7x7 stem, max-pool, four stages (Table 1)."""
    depth: int = 20
    """Weighted layers: 6n+2 (basic) or 9n+2 (bottleneck) for "cifar"; 18, 34, 50, 101, 152 for "imagenet"."""
    block: Literal["auto", "basic", "bottleneck"] = "auto"
    """Residual unit; "auto" is basic for "cifar" and what Table 1 gives the depth for "imagenet"."""
    shortcut: Literal[
        "none",
        "A",
        "B",
        "C",
        "identity",
        "scale",
        "exclusive_gate",
        "shortcut_gate",
        "dropout",
    ] = "A"
    """What joins a block's input to its output: see models/shortcuts.py, a line and a source for each. "none" is the
    plain twin; A, B, C: the options of 2015; the rest, and C as the 1x1 convolution, are those of 2016, Table 1."""
    shortcut_scale: float = 0.5
    """Of the shortcut "scale": the factor on the shortcut (2016, Eq. 6 and Table 1)."""
    residual_scale: float = 1.0
    """A factor on every block's residual, whatever its shortcut; 2016, Table 1: 0.5 with "scale"."""
    gate_bias: float = -6.0
    """Of the gates: what the bias b_g of g(x) = sigmoid(W_g x + b_g) starts from (2016, Sec. 3.1; -6 is their best)."""
    shortcut_dropout: float = 0.5
    """Of the shortcut "dropout": the share of its numbers that each step sets to zero (2016, Sec. 3.1)."""
    cut: tuple[str, ...] = ()
    """Blocks that lose their shortcut, while the others keep theirs: names of stages ("stage2") and of blocks
    ("stage2_block3"), and "every-3" for every third block of the net (3, 6, 9 and so on, counted from the stem)."""
    activation_order: Literal[
        "original",
        "bn_after_addition",
        "relu_before_addition",
        "relu_only_preactivation",
        "full_preactivation",
    ] = "original"
    """Where BN and ReLU stand in a block: 2016, Fig. 4, a to e; see models/orders.py."""
    survival: float = 1.0
    """Stochastic depth (Huang et al. 2016, arXiv 1603.09382): how probably the last block's residual takes part in a
    step; of L blocks the l-th takes part with 1 - l/L * (1 - survival), their linear decay. Theirs: 0.5; 1: off."""
    skip_init: float | None = None
    """SkipInit (De and Smith 2020, arXiv 2002.10444): a learned scalar on each residual that starts from this value;
    theirs: 0; None: off. Departs from the paper: the blocks keep their BN."""
    width: int | None = None
    """Channels of the stem and the first stage, doubled from stage to stage; None: the papers' 16 ("cifar") or 64."""
    widen: int = 1
    """Width factor k (Zagoruyko and Komodakis 2016, arXiv 1605.07146): k times the channels in every stage, not in the
    stem. Their WRN-28-10, whose depth counts projections (6n+4), has depth 26 here, B and full pre-activation."""
    num_classes: int | None = None
    """Outputs of the last layer; None: as many as the data set has classes."""
    shortcut_padding: Literal["end", "both"] = "end"
    """Where option A puts its zero channels: after the signal, or half on each side (the paper does not say)."""
    bottleneck_stride: Literal["1x1", "3x3"] = "1x1"
    """Which conv of a bottleneck has the stride: the first 1x1 (the paper), or the 3x3 ("v1.5")."""
    zero_gamma: bool = False
    """Start each unit's last BN scale at 0 (Goyal et al. 2017, Sec. 5.1). Departs from the paper: it starts at 1.
    Not in orders with a ReLU after that BN: at 0 it passes no gradient, and the unit would never learn."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Dtype of the computation; parameters and statistics stay float32. float64 (all of it) is for verification."""
    precision: Literal["default", "high", "highest"] = "default"
    """Precision of the products in convolutions and the last layer. "default" is the device's fastest for float32: TF32
    on GPUs that have it, bfloat16 on TPUs; "high" is TF32 on GPUs, three bfloat16 passes on TPUs; "highest" is float32.
    A CPU computes in float32 with each of them."""
    remat: bool = False
    """Keep only each block's input for the backward pass and compute the rest again: less memory, a third more time."""
    stages: Literal["auto", "unrolled", "scanned"] = "auto"
    """A stage's blocks written out in the program, or as a loop over those that are alike: the same numbers from a
    program that does not grow with depth. "auto" follows what was measured, see training/program.py."""
    norm: BatchNormConfig = field(default_factory=BatchNormConfig)

    def _check(self) -> None:
        if self.family == "cifar":
            per_stage = 6 if self.block_kind == "basic" else 9
            n, rest = divmod(self.depth - 2, per_stage)
            if rest or n < 1:
                below = max(1, n) * per_stage + 2
                near = below if n < 1 else f"{below} or {below + per_stage}"
                self._require(False, "depth", f"{per_stage}n+2 with {self.block_kind} blocks, here {near}")
        else:
            self._require(self.depth in IMAGENET_STAGES, "depth", ", ".join(map(str, IMAGENET_STAGES)))
            if self.block != "auto":
                implied = dataclasses.replace(self, block="auto").block_kind
                self._require(self.block == implied, "block", f"'auto' or {implied!r} at depth {self.depth}")
        self._require(self.width is None or self.width >= 1, "width", "a whole number above 0, or None")
        self._require(
            self.num_classes is None or self.num_classes >= 2, "num_classes", "a whole number of at least 2, or None"
        )
        self._require(self.widen >= 1, "widen", "a whole number above 0")
        for name in ("shortcut_scale", "residual_scale"):
            self._require(getattr(self, name) >= 0.0, name, "a number of at least 0")
        self._require(0.0 <= self.shortcut_dropout < 1.0, "shortcut_dropout", "0 <= shortcut_dropout < 1")
        if self.shortcut in WITHOUT_NUMBERS:  # a change that changes nothing would pass for a result
            for f in dataclasses.fields(self):
                if f.name in NUMBERS and getattr(self, f.name) != f.default:
                    legal = f"{f.default} with model.shortcut={self.shortcut!r}, as it is of {NUMBERS[f.name]}"
                    self._require(False, f.name, legal)
        self._require(0.0 < self.survival <= 1.0, "survival", "0 < survival <= 1")
        if self.survival < 1.0 and (self.is_plain or self.cut):
            self._require(False, "survival", "1 where blocks have no shortcut (model.shortcut='none', model.cut)")
        if self.zero_gamma and self.activation_order in RELU_AFTER_LAST_NORM:
            legal = f"False with model.activation_order={self.activation_order!r}, where a ReLU that follows stops the"
            self._require(False, "zero_gamma", f"{legal} gradient for good; model.skip_init=0 starts from zero there")
        if self.is_plain or self.cut:  # a product with zeros, whose gradient is zero too
            without = "where blocks have no shortcut (model.shortcut='none', model.cut)"
            self._require(not self.zero_gamma, "zero_gamma", f"False {without}")
            self._require(self.skip_init != 0.0, "skip_init", f"None, or another number than 0, {without}")
        if self.is_plain:
            self._require(not self.cut, "cut", "() with model.shortcut='none', which leaves no shortcut to cut")
        for name in self.cut:
            if not self._selected(name):
                blocks = ", ".join(map(str, self.stage_blocks))
                raise UserError(
                    f"model.cut: got {name!r}; legal: 'stage1' to 'stage{len(self.stage_blocks)}', a block such as "
                    f"'stage2_block1' (the stages have {blocks} blocks), 'every-K' for a K of at most "
                    f"{sum(self.stage_blocks)}."
                )

    @property
    def block_kind(self) -> Literal["basic", "bottleneck"]:
        """The residual unit, with "auto" resolved."""
        if self.block != "auto":
            return self.block
        basic = self.family == "cifar" or self.depth in IMAGENET_BASIC_DEPTHS
        return "basic" if basic else "bottleneck"

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """Blocks in each stage: three equal stages ("cifar") or Table 1's four ("imagenet")."""
        if self.family == "imagenet":
            return IMAGENET_STAGES[self.depth]
        n = (self.depth - 2) // (6 if self.block_kind == "basic" else 9)
        return (n, n, n)

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Channels of the 3x3 convs in each stage; a bottleneck puts out `expansion` times as many."""
        return tuple(self.widen * self.base_width * 2**i for i in range(len(self.stage_blocks)))

    @property
    def base_width(self) -> int:
        """Channels of the stem and, times `widen`, of the first stage (He et al. 2015, Sec. 4.2 and Table 1)."""
        return self.width if self.width is not None else (16 if self.family == "cifar" else 64)

    @property
    def expansion(self) -> int:
        """Output channels of a block over its width (He et al. 2015, Fig. 5)."""
        return 1 if self.block_kind == "basic" else 4

    @property
    def is_plain(self) -> bool:
        """Whether the net has no shortcuts."""
        return self.shortcut == "none"

    @property
    def is_noisy(self) -> bool:
        """Whether a train step of the net draws random numbers of its own."""
        return self.survival < 1.0 or self.shortcut == "dropout"

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Stage and place in it of every block, in order; both count from 1."""
        return tuple((i, j) for i, n in enumerate(self.stage_blocks, start=1) for j in range(1, n + 1))

    @property
    def cut_blocks(self) -> frozenset[tuple[int, int]]:
        """Stage and place of the blocks that `cut` names."""
        return frozenset(block for name in self.cut for block in self._selected(name))

    def shortcut_of(self, block: tuple[int, int]) -> str:
        """The shortcut of a block, by stage and place: "none" where it is cut."""
        return "none" if block in self.cut_blocks else self.shortcut

    def survival_of(self, number: int) -> float:
        """The probability that a block, counted from 1, takes part in a train step (Huang et al. 2016, Eq. 4)."""
        return 1.0 - number / sum(self.stage_blocks) * (1.0 - self.survival)

    def _selected(self, name: str) -> tuple[tuple[int, int], ...]:
        """The blocks that one name of `cut` stands for; none where it is not legal."""
        if match := re.fullmatch(r"every-([1-9]\d*)", name):
            return self.blocks[int(match[1]) - 1 :: int(match[1])]
        return tuple((i, j) for i, j in self.blocks if name in (f"stage{i}", f"stage{i}_block{j}"))

    @property
    def net(self) -> str:
        """The kind of net in a word, without its depth: "plain", "resnet", "preact-resnet", "resnet-B"."""
        kind = "plain" if self.is_plain else "resnet"
        prefix = {
            "original": "",
            "bn_after_addition": "bn-after-",
            "relu_before_addition": "relu-before-",
            "relu_only_preactivation": "relu-only-",
            "full_preactivation": "preact-",
        }[self.activation_order]
        usual = {"cifar": "A", "imagenet": "B" if self.block_kind == "bottleneck" else "A"}[self.family]
        suffix = "" if self.is_plain or self.shortcut in (usual, "identity") else f"-{self.shortcut}"
        return f"{prefix}{kind}{suffix}"


@dataclass(frozen=True)
class DataConfig(Section):
    """What a run sees: a data set, its normalisation and its augmentation."""

    _section: typing.ClassVar[str] = "data"

    source: Literal["digits", "tfds", "folder", "npz"] = "digits"
    """"digits": scikit-learn's 1,797 real handwritten digits, 8x8 pixels, embedded, no download; "tfds": `name` from
    TensorFlow Datasets; "folder": images in <path>/{train,test}/<class>/; "npz": NumPy arrays in one file."""
    name: str | None = None
    """For "tfds": the data set's name, such as cifar10."""
    path: str | None = None
    """For "folder" and "npz": where the images are. For "tfds": its data directory, where not the usual one."""
    image_size: int | None = None
    """For "folder": resize each image's shorter side to this many pixels and keep the square in its middle; None: all
    images must have one size already."""
    bad_images: Literal["stop", "skip"] = "stop"
    """For "folder": at an image that cannot be read, stop and name it, or leave it out and say how many were."""
    train_subset: int | None = None
    """Train on this many of the training images, each class in proportion, chosen by `split_seed`; None: on all."""
    validation: int = 0
    """Hold this many training images out, each class in proportion, chosen by `split_seed`, and evaluate on them along
    the way; the test set is then evaluated once, at the last step. The paper's 45k/5k split: 5000."""
    split_seed: int = 0
    """Of `train_subset` and `validation`; apart from the run's seed, so that all seeds see the same images."""
    placement: Literal["auto", "device", "host"] = "auto"
    """Keep all images on the device, or feed them from the host in batches; "auto": on the device where they fit."""
    normalize: Literal["pixel_mean", "channel_mean_std", "weights"] = "pixel_mean"
    """Subtract the training set's mean image and nothing else (the paper), or standardise each channel; "weights": as
    the net of `finetune.weights` was trained, which a frozen part of it needs."""
    pad: int = 0
    """Zero padding on each side, in pixels, before a random crop of the original size; 0: no crop. The paper: 4."""
    flip: bool = False
    """Mirror each image with probability 1/2. The paper: on for CIFAR; wrong for digits."""

    def _check(self) -> None:
        self._require(self.pad >= 0, "pad", "a whole number of at least 0")
        needs = {"digits": None, "tfds": "name", "folder": "path", "npz": "path"}[self.source]
        if needs is not None and not getattr(self, needs):
            raise UserError(f"data.{needs}: got {getattr(self, needs)!r}; data.source={self.source!r} needs it.")
        self._require(self.image_size is None or self.image_size >= 1, "image_size", "a whole number above 0, or None")
        if self.image_size is not None and self.source != "folder":
            raise UserError(
                f"data.image_size: got {self.image_size} with data.source={self.source!r}, whose images keep their "
                f"size; legal: None, or data.source='folder'."
            )
        subset = self.train_subset
        self._require(subset is None or subset >= 1, "train_subset", "a whole number above 0, or None")
        for name in ("validation", "split_seed"):
            self._require(getattr(self, name) >= 0, name, "a whole number of at least 0")


@dataclass(frozen=True)
class FinetuneConfig(Section):
    """A start from a net in a file, with a new last layer, in the place of random values."""

    _section: typing.ClassVar[str] = "finetune"

    weights: str | None = None
    """A folder written by experiments.convert, a finished run's directory, or a PyTorch state dict (.safetensors, .pt,
    .pth, .th); None: random values. Its net must be that of `model`, whatever its number of classes."""
    frozen_stages: int = 0
    """The stem and this many stages, from the first, stay as they are: no gradient, no decay, and batch norms in eval
    mode, so that their running statistics stay too. With all stages frozen only the last layer is trained."""
    stage_rates: tuple[float, ...] = ()
    """Factors of the learning rate, one for each stage; the stem has the first stage's, the last layer 1. Empty: 1."""

    def _check(self) -> None:
        self._require(self.frozen_stages >= 0, "frozen_stages", "a whole number of at least 0")
        self._require(all(rate > 0.0 for rate in self.stage_rates), "stage_rates", "numbers above 0")
        if self.weights is None:
            self._require(self.frozen_stages == 0, "frozen_stages", "0 without finetune.weights")
            self._require(self.stage_rates == (), "stage_rates", "none without finetune.weights")


@dataclass(frozen=True)
class OptimConfig(Section):
    """SGD with momentum; rates in iterations, as in the papers. Defaults: He et al. 2015, Sec. 4.2."""

    _section: typing.ClassVar[str] = "optim"

    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    """L2 decay on all parameters, BN scales and biases included, as in the paper."""
    milestones: tuple[int, ...] = (32_000, 48_000)
    """Iterations at which the rate is multiplied by `decay_factor`."""
    decay_factor: float = 0.1
    warmup: Literal["none", "iterations", "error"] = "none"
    """"iterations": `warmup_rate` for `warmup_iterations` (2016, Appendix); "error": until training error falls below
    `warmup_error` (2015, Sec. 4.2, ResNet-110), by a running estimate."""
    warmup_rate: float = 0.01
    warmup_iterations: int = 400
    warmup_error: float = 0.8
    """Training error, a fraction, below which the warm-up "error" ends for good."""
    warmup_smoothing: float = 0.9
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


@dataclass(frozen=True)
class TrainConfig(Section):
    """How long, in what batches, and what is measured and kept on the way."""

    _section: typing.ClassVar[str] = "train"

    iterations: int = 64_000
    """Optimizer steps of the run; 64k for CIFAR (He et al. 2015, Sec. 4.2)."""
    batch_size: int = 128
    """Images per step over all devices. Batches run on from epoch to epoch, so each is full and no image is dropped."""
    accumulation: int = 1
    """Parts of a batch whose gradients are computed one after another and averaged, for a batch too large for memory.
    BN sees one part at a time: equal to the whole batch with scope "ghost", not with "global" or "device"."""
    eval_batch_size: int = 512
    """Images per evaluation step over all devices; a short last batch is padded with examples of weight 0."""
    eval_every: int = 1
    """Epochs between evaluations on the test set (for curves, never for selection); 0: at the last step alone."""
    recompute_batch_stats: bool = False
    """Before the final evaluation, replace BN's running statistics by averages over the training set, as the authors
    did for their released models."""
    checkpoint_steps: int = 1_000
    """Steps between checkpoints; 0: none but on Ctrl-C, on SIGTERM and at the end."""
    steps_per_dispatch: int | Literal["auto"] = "auto"
    """Train steps that the host hands to the devices at a time; the numbers are the same, beyond rounding. "auto": 1 on
    a CPU and with images on the host, else as many as training/program.py says."""
    keep_checkpoints: int = 2
    """Newest checkpoints kept in the run directory; older ones are deleted."""
    keep_every: int = 0
    """Of the older ones, keep those whose step is a multiple of this; 0: none."""
    gradient_norms_every: int = 0
    """Steps between lines of gradients.jsonl, the gradient's norm in each layer; the first is taken at the initial
    values. 0: none, and nothing of it in the compiled step."""

    def _check(self) -> None:
        for name in ("iterations", "batch_size", "accumulation", "eval_batch_size", "keep_checkpoints"):
            self._require(getattr(self, name) >= 1, name, "a whole number above 0")
        at_once = self.steps_per_dispatch
        self._require(at_once == "auto" or at_once >= 1, "steps_per_dispatch", "'auto' or a whole number above 0")
        for name in ("eval_every", "checkpoint_steps", "keep_every", "gradient_norms_every"):
            self._require(getattr(self, name) >= 0, name, "a whole number of at least 0")


@dataclass(frozen=True)
class ParallelConfig(Section):
    """On which devices a step runs, and how."""

    _section: typing.ClassVar[str] = "parallel"

    mode: Literal["jit", "shard_map", "pmap"] = "jit"
    """jit over a mesh (the compiler partitions), shard_map over the same mesh (explicit), or pmap (in maintenance)."""
    devices: int = 1
    """Devices that share each batch."""

    def _check(self) -> None:
        self._require(self.devices >= 1, "devices", "a whole number above 0")


@dataclass(frozen=True)
class ExperimentConfig(Section):
    """One run, whole: with the code's version and the device it determines the result."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    seed: int = 0
    """Of the initial values, the order of the examples and the augmentation."""

    def _check(self) -> None:
        self._require(0 <= self.seed < 2**32, "seed", "a whole number from 0 to 2**32 - 1")
        size, parts = self.train.batch_size, self.parallel.devices * self.train.accumulation
        if size % parts:
            near = max(1, round(size / parts)) * parts
            shares = f"parallel.devices={self.parallel.devices}"
            if self.train.accumulation > 1:
                shares += f" times train.accumulation={self.train.accumulation}"
            raise UserError(
                f"train.batch_size: got {size}, which {shares} does not divide; legal: a multiple of {parts}, "
                f"such as {near}."
            )
        norm, part = self.model.norm, size // parts
        if norm.scope == "ghost" and part % norm.ghost_size:
            raise UserError(
                f"model.norm.ghost_size: got {norm.ghost_size}, which does not divide the {part} images "
                f"that each device gets at once of train.batch_size={size}; legal: a divisor of {part}."
            )
        if self.data.normalize == "weights" and self.finetune.weights is None:
            raise UserError("data.normalize: got 'weights'; legal: that only with finetune.weights, whose it is.")
        stages, rates = len(self.model.stage_blocks), self.finetune.stage_rates
        if self.finetune.frozen_stages > stages:
            raise UserError(
                f"finetune.frozen_stages: got {self.finetune.frozen_stages}; legal: 0 to {stages}, the net's stages."
            )
        if rates and len(rates) != stages:
            raise UserError(
                f"finetune.stage_rates: got {len(rates)} numbers; legal: {stages}, one for each stage of the net."
            )

    @property
    def norm_batch(self) -> int:
        """Images that share batch statistics in training: BN's batch size."""
        at_once = self.train.batch_size // self.train.accumulation
        if self.model.norm.scope == "global":
            return at_once
        return at_once // self.parallel.devices if self.model.norm.scope == "device" else self.model.norm.ghost_size

    @property
    def operational(self) -> frozenset[str]:
        """Dotted names of the fields that say how this run runs and not what it computes, beyond rounding.

        A run may go on with others, and a finished one counts whatever they were.
        """
        # Parts of a batch are made of every device's share, so with "global" they are other images on other devices.
        depends = self.model.norm.scope == "device" or (
            self.model.norm.scope == "global" and self.train.accumulation > 1
        )
        fixed = {"parallel.devices"} if depends else set()
        return frozenset(_OPERATIONAL - fixed)


_OPERATIONAL = {
    "data.placement",
    "model.remat",
    "model.stages",
    "train.checkpoint_steps",
    "train.keep_checkpoints",
    "train.keep_every",
    "train.steps_per_dispatch",
    "parallel.mode",
    "parallel.devices",
}


# --- plain data, and changes by dotted name -----------------------------------------------------------------------

_T = TypeVar("_T", bound=Section)

# Fields that records of earlier versions have and that changed no result.
_RETIRED = {"train.checkpoint_every"}


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """The configuration as nested dictionaries of JSON's types (tuples become lists)."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return list(value) if isinstance(value, tuple) else value

    result: dict[str, Any] = plain(dataclasses.asdict(config))
    return result


def from_dict(values: Mapping[str, Any]) -> ExperimentConfig:
    """The configuration that `to_dict` gave.

    Raises:
      UserError: an unknown field (the nearest name is given), a value of a wrong type, or an illegal one.
    """
    return _build(ExperimentConfig, values, "")


def _build(cls: type[_T], values: Mapping[str, Any], prefix: str) -> _T:
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    built: dict[str, Any] = {}
    for name, value in values.items():
        if f"{prefix}{name}" in _RETIRED:
            continue
        if name not in names:
            raise UserError(f"{prefix}{name}: no such field; {nearest(name, names)}")
        hint = hints[name]
        if isinstance(hint, type) and issubclass(hint, Section) and isinstance(value, Mapping):
            value = _build(hint, value, f"{prefix}{name}.")
        built[name] = value
    return cls(**built)


def override(config: ExperimentConfig, changes: Mapping[str, Any]) -> ExperimentConfig:
    """`config` with fields changed by dotted name, as in `{"model.depth": 56}`; checked as a whole, once.

    Raises:
      UserError: a name that is no field, or values that are not legal together.
    """
    values = to_dict(config)
    for name, value in changes.items():
        *sections, last = name.split(".")
        place: Any = values
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise UserError(f"{name}: no such field; {nearest(name, list(flatten(values)))}")
        place[last] = list(value) if isinstance(value, tuple) else value
    return from_dict(values)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def nearest(name: str, legal: list[str]) -> str:
    """The end of a sentence about a name that is not known: the nearest legal one, or all of them."""
    close = difflib.get_close_matches(name, legal, n=1)
    return f"did you mean {close[0]!r}?" if close else f"legal: {', '.join(sorted(legal))}."
