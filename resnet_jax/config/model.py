"""The net of a run: depth, blocks, shortcuts, batch normalisation."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from resnet_jax.config.section import NET, OPERATIONAL, RECIPE, SHORTCUT, Condition, Role, Section, field, only_with
from resnet_jax.models.shortcuts import SHORTCUTS

if TYPE_CHECKING:
    ShortcutName: TypeAlias = str
else:
    ShortcutName = Literal[tuple(SHORTCUTS)]

# Blocks per stage of the ImageNet nets (He et al. 2015, Table 1).
IMAGENET_STAGES: Mapping[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
IMAGENET_BASIC_DEPTHS = (18, 34)
# Orders of activations with a ReLU between a residual's last BN and the addition.
RELU_AFTER_LAST_NORM = ("bn_after_addition", "relu_before_addition", "full_preactivation")


@dataclass(frozen=True)
class BatchNormConfig(Section):
    """Batch normalisation (Ioffe and Szegedy 2015). All variances are biased: divided by n, not by n - 1."""

    _section: typing.ClassVar[str] = "model.norm"

    momentum: float = field(0.9, RECIPE, words="BN momentum")
    """Weight of the old running statistics: new = momentum * old + (1 - momentum) * batch. 0.9 here is 0.1 in
    PyTorch."""
    epsilon: float = field(1e-5, Role("net"), words="BN epsilon")
    """Added to the variance before the square root."""
    scope: Literal["global", "device", "ghost"] = field("global", RECIPE, open_in_papers=True, words="BN scope")
    """Images that share batch statistics. "global": the whole batch; "device": the images on one device; "ghost":
    groups of `ghost_size` images."""
    ghost_size: int = field(64, RECIPE, needs=only_with("model.norm.scope", "ghost"), open_in_papers=True)
    """Images in a group, for the scope "ghost". The paper: 64 (He et al. 2015, Sec. 4.2: 128 images on two GPUs)."""

    def _check(self) -> None:
        self._require(0.0 <= self.momentum < 1.0, "momentum", "0 <= momentum < 1")
        self._require(self.epsilon > 0.0, "epsilon", "a number above 0")
        self._require(self.ghost_size >= 1, "ghost_size", "a whole number above 0")


@dataclass(frozen=True)
class ModelConfig(Section):
    """A net of He et al. 2015 (arXiv 1512.03385) or 2016 (arXiv 1603.05027), or the same net without shortcuts."""

    _section: typing.ClassVar[str] = "model"

    family: Literal["cifar", "imagenet"] = field("cifar", Role("net"))
    """"cifar": 3x3 stem and three stages (2015, Sec. 4.2); "imagenet": 7x7 stem, max-pool, four stages (Table 1)."""
    depth: int = field(20, NET, named=True, open_in_papers=True)
    """Number of weighted layers: 6n+2 (basic blocks) or 9n+2 (bottleneck blocks) for "cifar"; 18, 34, 50, 101 or 152
    for "imagenet"."""
    block: Literal["auto", "basic", "bottleneck"] = field("auto", NET, open_in_papers=True, words="residual unit")
    """Kind of residual unit; "auto": basic for "cifar", and as in Table 1 for "imagenet"."""
    shortcut: ShortcutName = field("A", SHORTCUT, named=True)  # noqa: RUF009  # as every other field
    """The connection from a block's input to its output. "none": no shortcut, a plain net; "A", "B", "C": the options
    of 2015; the others are from 2016, Table 1, where C is the 1x1 convolution. models/shortcuts.py has a formula and a
    source for each."""
    shortcut_scale: float = field(0.5, SHORTCUT, needs=only_with("model.shortcut", "scale"))
    """Factor on the shortcut, for the shortcut "scale" (2016, Eq. 6 and Table 1)."""
    residual_scale: float = field(1.0, SHORTCUT)
    """Factor on the residual of every block, for any shortcut; 2016, Table 1: 0.5 with the shortcut "scale"."""
    gate_bias: float = field(-6.0, SHORTCUT, needs=only_with("model.shortcut", "exclusive_gate", "shortcut_gate"))
    """Initial bias b_g in g(x) = sigmoid(W_g x + b_g), for the shortcuts "exclusive_gate" and "shortcut_gate" (2016,
    Sec. 3.1; -6 gave the lowest errors)."""
    shortcut_dropout: float = field(0.5, SHORTCUT, needs=only_with("model.shortcut", "dropout"))
    """Dropout rate, for the shortcut "dropout" (2016, Sec. 3.1)."""
    cut: tuple[str, ...] = field(
        (),
        SHORTCUT,
        needs=Condition(lambda model: not model.is_plain, "another model.shortcut than 'none'"),
        words="skips cut",
    )
    """Blocks that have no shortcut, in a net with shortcuts: names of stages ("stage2") or of blocks ("stage2_block3"),
    or "every-3" for every third block of the net (3, 6, 9 and so on, counted from the stem)."""
    activation_order: Literal[
        "original", "bn_after_addition", "relu_before_addition", "relu_only_preactivation", "full_preactivation"
    ] = field("original", NET, named=True)
    """The order of convolution, BN and ReLU in a block (2016, Fig. 4, a to e; see models/orders.py)."""
    survival: float = field(1.0, SHORTCUT, words="survival probability")
    """Stochastic depth (Huang et al. 2016, arXiv 1603.09382): the probability that the last block's residual is used in
    a step. For block l of L it is 1 - l/L * (1 - survival), the linear decay of that paper, which uses 0.5. 1: off."""
    skip_init: float | None = field(None, NET, words="SkipInit")
    """SkipInit (De and Smith 2020, arXiv 2002.10444, with 0): initial value of a learned factor on each residual; None:
    no such factor. Departs from that paper: the blocks keep their BN."""
    width: int | None = field(None, Role("net"), open_in_papers=True)
    """Channels of the stem and the first stage; each later stage has twice as many as the previous one. None: as in the
    papers, 16 for "cifar" and 64 for "imagenet"."""
    widen: int = field(1, NET, words="width factor")
    """Width factor (Zagoruyko and Komodakis 2016, arXiv 1605.07146): multiplies the channels of every stage, but not of
    the stem. Their WRN-28-10 is depth 26 here, with option B and full pre-activation, because they count projections as
    layers (6n+4)."""
    num_classes: int | None = field(None, Role("data"), open_in_papers=True)
    """Number of outputs of the last layer; None: the number of classes of the data."""
    shortcut_padding: Literal["end", "both"] = field(
        "end",
        SHORTCUT,
        needs=Condition(
            lambda model: model.pads,
            "option A: model.shortcut='A', or basic blocks with another shortcut of 2016 than 'C'",
        ),
        open_in_papers=True,
    )
    """Position of the zero channels that option A adds: after the other channels, or half before and half after them
    (the paper does not say)."""
    bottleneck_stride: Literal["1x1", "3x3"] = field(
        "1x1",
        NET,
        needs=Condition(lambda model: model.block_kind == "bottleneck", "bottleneck blocks"),
        open_in_papers=True,
    )
    """The convolution of a bottleneck block that has the stride: the first 1x1 (as in the paper), or the 3x3 (often
    called "v1.5")."""
    zero_gamma: bool = field(False, Role("recipe", compared="net"), words="last BN scale starts at 0")
    """Start the scale of the last BN of each unit at 0 (Goyal et al. 2017, Sec. 5.1). Departs from the paper, where it
    starts at 1. Illegal for orders with a ReLU after that BN: a ReLU passes no gradient at 0, so the unit would never
    learn."""
    dtype: Literal["float32", "bfloat16", "float64"] = field("float32", RECIPE)
    """Dtype of the computation; parameters and statistics are always float32. Exception: with "float64", which is for
    tests, everything is float64."""
    # The papers' nets were computed in float32. No value here is more precise than that.
    precision: Literal["default", "high", "highest"] = field("default", RECIPE, open_in_papers=True)
    """Precision of the products in convolutions and the last layer. "default": the fastest precision of the device,
    which is TF32 on recent NVIDIA GPUs and bfloat16 on TPUs; "high": TF32 on GPUs, three bfloat16 passes on TPUs;
    "highest": float32. A CPU always computes in float32."""
    remat: bool = field(False, OPERATIONAL)
    """Keep only the input of each block for the backward pass, and compute the rest of the block a second time. This
    needs less memory and about a third more time."""
    stages: Literal["auto", "unrolled", "scanned"] = field("auto", OPERATIONAL)
    """How the blocks of a stage are compiled. "unrolled": each block separately; "scanned": as a loop, so that the
    compiled program does not grow with depth; "auto": scanned in very deep nets (models/stacking.py). The results are
    equal."""
    norm: BatchNormConfig = dataclasses.field(default_factory=BatchNormConfig)

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
        self._require(0.0 < self.survival <= 1.0, "survival", "0 < survival <= 1")
        if self.zero_gamma and self.activation_order in RELU_AFTER_LAST_NORM:
            legal = f"False with model.activation_order={self.activation_order!r}, where a following ReLU stops the"
            self._require(False, "zero_gamma", f"{legal} gradient; model.skip_init=0 can be used instead")
        if self.is_plain or self.cut:  # without a shortcut, a factor of zero gets a zero gradient and stays zero
            without = "because blocks have no shortcut (model.shortcut='none' or model.cut)"
            self._require(self.survival == 1.0, "survival", f"1, {without}")
            self._require(not self.zero_gamma, "zero_gamma", f"False, {without}")
            self._require(self.skip_init != 0.0, "skip_init", f"None, or another number than 0, {without}")
        for name in self.cut:
            blocks = ", ".join(map(str, self.stage_blocks))
            legal = (
                f"'stage1' to 'stage{len(self.stage_blocks)}', a block such as 'stage2_block1' (the stages have "
                f"{blocks} blocks), 'every-K' for a K of at most {sum(self.stage_blocks)}"
            )
            self._require(bool(self._selected(name)), "cut", legal, repr(name))

    @property
    def block_kind(self) -> Literal["basic", "bottleneck"]:
        """The kind of residual unit: the value of `block`, or the kind that "auto" selects."""
        if self.block != "auto":
            return self.block
        basic = self.family == "cifar" or self.depth in IMAGENET_BASIC_DEPTHS
        return "basic" if basic else "bottleneck"

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """Number of blocks in each stage.

        CIFAR nets have three stages with equally many blocks. For ImageNet nets, see He et al. 2015, Table 1.
        """
        if self.family == "imagenet":
            return IMAGENET_STAGES[self.depth]
        n = (self.depth - 2) // (6 if self.block_kind == "basic" else 9)
        return (n, n, n)

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Channels of the 3x3 convolutions in each stage; a block has `expansion` times as many output channels."""
        return tuple(self.widen * self.base_width * 2**i for i in range(len(self.stage_blocks)))

    @property
    def base_width(self) -> int:
        """Channels of the stem. The first stage has `widen` times as many (He et al. 2015, Sec. 4.2 and Table 1)."""
        return self.width if self.width is not None else (16 if self.family == "cifar" else 64)

    @property
    def expansion(self) -> int:
        """Output channels of a block, divided by the channels of its 3x3 convolutions (He et al. 2015, Fig. 5)."""
        return 1 if self.block_kind == "basic" else 4

    def convs(self, width: int, stride: int) -> tuple[tuple[int, int, int], ...]:
        """Output channels, kernel size and stride of each convolution of a residual unit (He et al. 2015, Fig. 5).

        The unit has the stride `stride`, and its 3x3 convolutions have `width` channels.
        """
        if self.block_kind == "basic":
            return (width, 3, stride), (width, 3, 1)
        first, second = (stride, 1) if self.bottleneck_stride == "1x1" else (1, stride)
        return (width, 1, first), (width, 3, second), (self.expansion * width, 1, 1)

    @property
    def is_plain(self) -> bool:
        """Whether the net has no shortcuts."""
        return self.shortcut == "none"

    @property
    def pads(self) -> bool:
        """Whether shortcuts add zero channels in blocks that increase the number of channels (option A)."""
        # In bottleneck nets, the shortcuts of the 2016 paper have projections.
        return self.shortcut == "A" or (self.shortcut not in ("none", "B", "C") and self.block_kind == "basic")

    @property
    def is_noisy(self) -> bool:
        """Whether the net draws random numbers in training (dropout on the shortcut, stochastic depth)."""
        return self.survival < 1.0 or self.shortcut == "dropout"

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """All blocks in order, as (number of the stage, number of the block in its stage); both count from 1."""
        return tuple((i, j) for i, n in enumerate(self.stage_blocks, start=1) for j in range(1, n + 1))

    @property
    def cut_blocks(self) -> frozenset[tuple[int, int]]:
        """The blocks whose shortcuts `cut` removes, as (stage, number of the block in its stage); both count from 1."""
        return frozenset(block for name in self.cut for block in self._selected(name))

    def shortcut_of(self, block: tuple[int, int]) -> str:
        """The shortcut of a block (stage, number in its stage): "none" if `cut` names it, otherwise `shortcut`."""
        return "none" if block in self.cut_blocks else self.shortcut

    def survival_of(self, number: int) -> float:
        """The probability that a step uses the residual of a block (Huang et al. 2016, Eq. 4).

        `number` is the number of the block in the whole net. The first block has the number 1.
        """
        return 1.0 - number / sum(self.stage_blocks) * (1.0 - self.survival)

    def _selected(self, name: str) -> tuple[tuple[int, int], ...]:
        """The blocks that one entry of `cut`, such as "stage2", selects; empty if the entry is illegal."""
        if match := re.fullmatch(r"every-([1-9]\d*)", name):
            return self.blocks[int(match[1]) - 1 :: int(match[1])]
        return tuple((i, j) for i, j in self.blocks if name in (f"stage{i}", f"stage{i}_block{j}"))

    @property
    def net(self) -> str:
        """The name of the net without its depth, such as "plain", "resnet", "preact-resnet" or "resnet-B"."""
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
