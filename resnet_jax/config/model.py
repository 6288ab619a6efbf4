"""Which net a run trains: depth, blocks, shortcuts, batch normalisation."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from resnet_jax.config.section import NET, OPERATIONAL, RECIPE, SHORTCUT, Condition, Role, Section, field, only_with
from resnet_jax.errors import UserError
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
# Orders of activations in which a ReLU stands between a residual's last BN and the addition.
RELU_AFTER_LAST_NORM = ("bn_after_addition", "relu_before_addition", "full_preactivation")


@dataclass(frozen=True)
class BatchNormConfig(Section):
    """Batch normalisation (Ioffe and Szegedy 2015). Variances are biased, in the batch and in the running average."""

    _section: typing.ClassVar[str] = "model.norm"

    momentum: float = field(0.9, RECIPE, words="BN momentum")
    """Weight of the old running statistics: new = momentum * old + (1 - momentum) * batch. PyTorch's 0.1."""
    epsilon: float = field(1e-5, Role("net"), words="BN epsilon")
    """Added to the variance before the square root."""
    scope: Literal["global", "device", "ghost"] = field("global", RECIPE, open_in_papers=True, words="BN scope")
    """Who shares batch statistics: all devices, each device by itself, or groups of `ghost_size` images."""
    ghost_size: int = field(64, RECIPE, needs=only_with("model.norm.scope", "ghost"), open_in_papers=True)
    """Images per group for the scope "ghost"; the paper's: 64 (He et al. 2015, Sec. 4.2: 128 on two GPUs)."""

    def _check(self) -> None:
        self._require(0.0 <= self.momentum < 1.0, "momentum", "0 <= momentum < 1")
        self._require(self.epsilon > 0.0, "epsilon", "a number above 0")
        self._require(self.ghost_size >= 1, "ghost_size", "a whole number above 0")


@dataclass(frozen=True)
class ModelConfig(Section):
    """A net of He et al. 2015 (arXiv 1512.03385) or 2016 (arXiv 1603.05027), or its plain twin."""

    _section: typing.ClassVar[str] = "model"

    family: Literal["cifar", "imagenet"] = field("cifar", Role("net"))
    """"cifar": 3x3 stem and three stages (2015, Sec. 4.2); "imagenet": 7x7 stem, max-pool, four stages (Table 1)."""
    depth: int = field(20, NET, named=True, open_in_papers=True)
    """Weighted layers: 6n+2 (basic) or 9n+2 (bottleneck) for "cifar"; 18, 34, 50, 101, 152 for "imagenet"."""
    block: Literal["auto", "basic", "bottleneck"] = field("auto", NET, open_in_papers=True, words="residual unit")
    """Residual unit; "auto" is basic for "cifar" and what Table 1 gives the depth for "imagenet"."""
    shortcut: ShortcutName = field("A", SHORTCUT, named=True)  # noqa: RUF009  # as every other field
    """What joins a block's input to its output: see models/shortcuts.py, a line and a source for each. "none" is the
    plain twin; A, B, C: the options of 2015; the rest, and C as the 1x1 convolution, are those of 2016, Table 1."""
    shortcut_scale: float = field(0.5, SHORTCUT, needs=only_with("model.shortcut", "scale"))
    """The factor on the shortcut, for the shortcut "scale" (2016, Eq. 6 and Table 1)."""
    residual_scale: float = field(1.0, SHORTCUT)
    """A factor on every block's residual, whatever its shortcut; 2016, Table 1: 0.5 with "scale"."""
    gate_bias: float = field(-6.0, SHORTCUT, needs=only_with("model.shortcut", "exclusive_gate", "shortcut_gate"))
    """Start of the bias b_g in g(x) = sigmoid(W_g x + b_g), for the two gates (2016, Sec. 3.1; -6 is their best)."""
    shortcut_dropout: float = field(0.5, SHORTCUT, needs=only_with("model.shortcut", "dropout"))
    """The share of numbers that each step sets to zero, for the shortcut "dropout" (2016, Sec. 3.1)."""
    cut: tuple[str, ...] = field(
        (),
        SHORTCUT,
        needs=Condition(lambda model: not model.is_plain, "another model.shortcut than 'none'"),
        words="skips cut",
    )
    """Blocks that lose their shortcut, while the others keep theirs: names of stages ("stage2") and of blocks
    ("stage2_block3"), and "every-3" for every third block of the net (3, 6, 9 and so on, counted from the stem)."""
    activation_order: Literal[
        "original",
        "bn_after_addition",
        "relu_before_addition",
        "relu_only_preactivation",
        "full_preactivation",
    ] = field("original", NET, named=True)
    """Where BN and ReLU stand in a block: 2016, Fig. 4, a to e; see models/orders.py."""
    survival: float = field(1.0, SHORTCUT, words="survival probability")
    """Stochastic depth (Huang et al. 2016, arXiv 1603.09382): how probably the last block's residual takes part in a
    step; of L blocks the l-th takes part with 1 - l/L * (1 - survival), their linear decay. Theirs: 0.5; 1: off."""
    skip_init: float | None = field(None, NET, words="SkipInit")
    """SkipInit (De and Smith 2020, arXiv 2002.10444): a learned scalar on each residual that starts from this value;
    theirs: 0; None: off. Departs from the paper: the blocks keep their BN."""
    width: int | None = field(None, Role("net"), open_in_papers=True)
    """Channels of the stem and the first stage, doubled from stage to stage; None: the papers' 16 ("cifar") or 64."""
    widen: int = field(1, NET, words="width factor")
    """Width factor k (Zagoruyko and Komodakis 2016, arXiv 1605.07146): k times the channels in every stage, not in the
    stem. Their WRN-28-10, whose depth counts projections (6n+4), has depth 26 here, B and full pre-activation."""
    num_classes: int | None = field(None, Role("data"), open_in_papers=True)
    """Outputs of the last layer; None: as many as the data set has classes."""
    shortcut_padding: Literal["end", "both"] = field(
        "end",
        SHORTCUT,
        needs=Condition(
            lambda model: model.pads,
            "option A: model.shortcut='A', or basic blocks with another shortcut of 2016 than 'C'",
        ),
        open_in_papers=True,
    )
    """Where option A puts its zero channels: after the signal, or half on each side (the paper does not say)."""
    bottleneck_stride: Literal["1x1", "3x3"] = field(
        "1x1",
        NET,
        needs=Condition(lambda model: model.block_kind == "bottleneck", "bottleneck blocks"),
        open_in_papers=True,
    )
    """Which conv of a bottleneck has the stride: the first 1x1 (the paper), or the 3x3 ("v1.5")."""
    zero_gamma: bool = field(False, Role("recipe", compared="net"), words="last BN scale starts at 0")
    """Start each unit's last BN scale at 0 (Goyal et al. 2017, Sec. 5.1). Departs from the paper: it starts at 1.
    Not in orders with a ReLU after that BN: at 0 it passes no gradient, and the unit would never learn."""
    dtype: Literal["float32", "bfloat16", "float64"] = field("float32", RECIPE)
    """Dtype of the computation; parameters and statistics stay float32. float64 (all of it) is for verification."""
    # The papers' nets were computed in float32; the default is less precise on some devices, and no value is more so.
    precision: Literal["default", "high", "highest"] = field("default", RECIPE, open_in_papers=True)
    """Precision of the products in convolutions and the last layer. "default" is the device's fastest for float32: TF32
    on GPUs that have it, bfloat16 on TPUs; "high" is TF32 on GPUs, three bfloat16 passes on TPUs; "highest" is float32.
    A CPU computes in float32 with each of them."""
    remat: bool = field(False, OPERATIONAL)
    """Keep only each block's input for the backward pass and compute the rest again: less memory, a third more time."""
    stages: Literal["auto", "unrolled", "scanned"] = field("auto", OPERATIONAL)
    """A stage's blocks written out in the program, or as a loop over those that are alike: the same numbers from a
    program that does not grow with depth. "auto" follows what was measured, see training/program.py."""
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
        if self.survival < 1.0 and (self.is_plain or self.cut):
            self._require(False, "survival", "1 where blocks have no shortcut (model.shortcut='none', model.cut)")
        if self.zero_gamma and self.activation_order in RELU_AFTER_LAST_NORM:
            legal = f"False with model.activation_order={self.activation_order!r}, where a ReLU that follows stops the"
            self._require(False, "zero_gamma", f"{legal} gradient for good; model.skip_init=0 starts from zero there")
        if self.is_plain or self.cut:  # a product with zeros, whose gradient is zero too
            without = "where blocks have no shortcut (model.shortcut='none', model.cut)"
            self._require(not self.zero_gamma, "zero_gamma", f"False {without}")
            self._require(self.skip_init != 0.0, "skip_init", f"None, or another number than 0, {without}")
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

    def convs(self, width: int, stride: int) -> tuple[tuple[int, int, int], ...]:
        """Output channels, kernel size and stride of each convolution of a unit (He et al. 2015, Fig. 5).

        Args:
          width: channels of the 3x3 convolutions.
          stride: of the unit.
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
        """Whether shortcuts carry the signal into more channels by zeros (option A), as models/shortcuts.py has it."""
        # The shortcuts of 2016 project in bottleneck nets.
        return self.shortcut == "A" or (self.shortcut not in ("none", "B", "C") and self.block_kind == "basic")

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
