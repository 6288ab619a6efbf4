"""Common parts of all formats of PyTorch state dicts: names, layouts, and the net from names and shapes."""

from __future__ import annotations

import abc
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from resnet_jax.config import IMAGENET_BASIC_DEPTHS, IMAGENET_STAGES, BatchNormConfig, ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.weights.arrays import Array, Arrays, Shape
from resnet_jax.weights.preprocessing import Preprocessing

BottleneckStride = Literal["1x1", "3x3"]

LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "batches": "num_batches_tracked",
}


@dataclass(frozen=True)
class Unsaid:
    """Properties of a net that names and shapes of a state dict do not show."""

    bottleneck_stride: BottleneckStride | None = None
    """Conv with a bottleneck's stride: "1x1" for the paper's own nets; None: the project's default, "3x3" ("v1.5")."""
    epsilon: float | None = None
    """Epsilon of the batch norms; None: PyTorch's 1e-5."""


@dataclass(frozen=True)
class Found:
    """The names and shapes of a state dict, without prefixes that wrappers put before each name."""

    shapes: Mapping[str, Shape]
    file: str
    """Name of the file, for messages."""
    unsaid: Unsaid = Unsaid()
    config: Mapping[str, Any] | None = None
    """Content of config.json beside the file, if it is another project's."""
    preprocessor: Mapping[str, Any] | None = None
    """Content of preprocessor_config.json beside the file."""

    def beside(self, name: str) -> Path:
        """The path of a file beside this one."""
        return Path(self.file).with_name(name)

    @property
    def stages(self) -> tuple[int, ...]:
        """Number of blocks in each stage "layer1", "layer2", ..., up to the last stage with an array."""
        return self.blocks(r"layer(\d+)\.(\d+)\.", first=1)

    def blocks(self, pattern: str, first: int) -> tuple[int, ...]:
        """Number of blocks in each stage; `pattern` matches the numbers of stage (from `first`) and block."""
        blocks: dict[int, int] = {}
        for name in self.shapes:
            if match := re.match(pattern, name):
                stage, block = int(match[1]) - first, int(match[2])
                blocks[stage] = max(blocks.get(stage, 0), block + 1)
        last = max(blocks, default=-1)
        # A damaged name may contain any number; no net has so many stages.
        return tuple(blocks.get(stage, 0) for stage in range(min(last + 1, 16)))

    def has_head(self, head: str) -> bool:
        """Whether there is a last layer; `head` is PyTorch's name for it."""
        return any(name.startswith(f"{head}.") for name in self.shapes)

    def axes(self, name: str, axes: int) -> Shape:
        """The shape of an array that every net has.

        Raises:
          UserError: the array is missing, or has another number of axes.
        """
        shape = self.shapes.get(name)
        if shape is None or len(shape) != axes:
            problem = "is missing" if shape is None else f"has the shape {shape}"
            kind = "convolution's" if axes == 4 else "last layer's"
            raise UserError(f"{self.file}: {name} {problem}; legal: a {kind} weights, which have {axes} axes.")
        return shape

    def imagenet_model(
        self, stages: tuple[int, ...], block: Literal["basic", "bottleneck"], **fields: Any
    ) -> ModelConfig:
        """The ImageNet net with these blocks; see `model`."""
        basic = block == "basic"
        depths = [d for d, n in IMAGENET_STAGES.items() if n == stages and (d in IMAGENET_BASIC_DEPTHS) == basic]
        depth = depths[0] if depths else None
        return self.model(stages, block, depth, usual_width=64, family="imagenet", shortcut="B", **fields)

    def model(
        self,
        stages: tuple[int, ...],
        block: Literal["basic", "bottleneck"],
        depth: int | None,
        *,
        stem: str,
        head: str,
        usual_width: int,
        **fields: Any,
    ) -> ModelConfig:
        """The net with these names and shapes; without a last layer, its number of classes is not set.

        Args:
          stages, block: number of blocks in each stage, and their kind.
          depth: depth of the net; None: no legal net has these stages.
          stem, head: PyTorch's names of the first convolution and of the last layer.
          usual_width: width of the published nets; a net of this width has `width` None.
          fields: other fields of ModelConfig.

        Raises:
          UserError: there is no such net.
        """
        if depth is None or sum(stages) > len(self.shapes):  # a damaged name may have any number
            raise UserError(
                f"{self.file}: its stages have {', '.join(map(str, stages))} {block} blocks; legal: three equal "
                f"stages, or those of ResNet-{', '.join(map(str, IMAGENET_STAGES))}."
            )
        width = self.axes(f"{stem}.weight", 4)[0]
        norm = BatchNormConfig() if self.unsaid.epsilon is None else BatchNormConfig(epsilon=self.unsaid.epsilon)
        try:
            return ModelConfig(
                depth=depth,
                block=block,
                width=None if width == usual_width else width,
                num_classes=self.axes(f"{head}.weight", 2)[0] if self.has_head(head) else None,
                bottleneck_stride=(self.unsaid.bottleneck_stride or "3x3") if block == "bottleneck" else "1x1",
                norm=norm,
                **fields,
            )
        except UserError as error:
            raise UserError(f"{self.file}: no net that can be built: {error}") from None


@dataclass(frozen=True)
class Told:
    """The facts about a net in a state dict and the files beside it."""

    model: ModelConfig
    """The net's configuration; without a last layer, its number of classes is not set."""
    channels: int
    """Number of channels of the images."""
    class_names: tuple[str, ...] | None = None
    """None: no file says them."""
    preprocessing: Preprocessing | None = None
    """None: no file says it."""


class Format(abc.ABC):
    """One project's state dicts.

    Each module in this folder has one format, `FORMAT`. A format must be able to read the files that it writes.
    """

    name: str
    holds: str
    """The nets whose state dicts can be in this format, for messages: the family, and which nets of it."""
    first: str
    """PyTorch's name of an array in the first block; text before this name is a wrapper's prefix."""
    usual_prefix: str = ""
    """Prefix of each name in the project's files. Files are written with it, and read with or without it."""
    family: Literal["cifar", "imagenet"] | None = None
    """The family of nets for which this is the default format for writing; None: no family."""

    @abc.abstractmethod
    def claims(self, found: Found) -> bool:
        """Whether the names, and the files beside the state dict, belong to this format."""

    @abc.abstractmethod
    def net(self, found: Found) -> Told:
        """The net whose state dict has these names and shapes. Does not check that all arrays are there.

        Raises:
          UserError: no known net has these shapes, or a file beside the state dict does not fit.
        """

    @abc.abstractmethod
    def module(self, name: str) -> str:
        """PyTorch's name for a module with our name, such as "stem_conv", "stage1_block1", "conv1" or "head"."""

    def writable(self, model: ModelConfig, arrays: Arrays) -> tuple[ModelConfig, Arrays, tuple[str, ...]]:
        """A net with equal logits that this format can express, if there is one, and remarks on the changes."""
        return model, arrays, ()

    def prefixes(self, names: Iterable[str]) -> set[str]:
        """Wrappers' prefixes of the nets in a state dict, such as "module." or "_orig_mod.module."."""
        first = self.first
        return {name.removesuffix(first) for name in names if name == first or name.endswith(f".{first}")}

    def names(self, ours: Iterable[str]) -> dict[str, str]:
        """PyTorch's names, without `usual_prefix`, of all arrays of a net."""
        found = {}
        for name in ours:
            *modules, leaf = name.split("/")
            found[name] = ".".join([*map(self.module, modules), LEAVES.get(leaf, leaf)])
        return found

    def shapes(self, ours: Mapping[str, Shape]) -> dict[str, Shape]:
        """Shapes of all arrays of a net under PyTorch's names and in its layouts."""
        return {theirs: layout(np.empty(ours[name], np.bool_)).shape for name, theirs in self.names(ours).items()}

    def to_pytorch(self, arrays: Mapping[str, Array]) -> Arrays:
        """All arrays of a net under PyTorch's names, with `usual_prefix`, and in its layouts."""
        return {self.usual_prefix + theirs: layout(arrays[name]) for name, theirs in self.names(arrays).items()}

    def from_pytorch(self, state: Mapping[str, Array], ours: Iterable[str]) -> Arrays:
        """PyTorch's arrays under our names and in our layouts.

        Args:
          state: arrays by PyTorch's names, without prefixes.
          ours: our names of all possible arrays; arrays that `state` lacks are left out.
        """
        return {name: layout_back(state[theirs]) for name, theirs in self.names(ours).items() if theirs in state}


STAGED_FIRST = "layer1.0.conv1.weight"


def staged_block(found: Found) -> Literal["basic", "bottleneck"]:
    """The kind of block in nets with stages "layer1", "layer2", ...: a bottleneck has a third convolution."""
    return "bottleneck" if "layer1.0.conv3.weight" in found.shapes else "basic"


def staged_module(name: str, head: str, shortcut: str) -> str:
    """PyTorch's name of a module in nets with stages "layer1", "layer2", ...

    Args:
      name: our name.
      head: PyTorch's name of the last layer.
      shortcut: PyTorch's name of a projection; its conv has number 0, its batch norm number 1.
    """
    if block := re.fullmatch(r"stage(\d+)_block(\d+)", name):
        return f"layer{block[1]}.{int(block[2]) - 1}"
    named = {"stem_conv": "conv1", "stem_norm": "bn1", "head": head}
    named |= {"shortcut_conv": f"{shortcut}.0", "shortcut_norm": f"{shortcut}.1"}
    return named.get(name, name.replace("norm", "bn"))


def layout(array: Array) -> Array:
    """A kernel in PyTorch's layout: HWIO -> OIHW, [in, out] -> [out, in]; other arrays do not change."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
    return array if axes is None else np.ascontiguousarray(array.transpose(axes))


def layout_back(array: Array) -> Array:
    """The inverse of `layout`."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim)
    return array if axes is None else np.ascontiguousarray(array.transpose(axes))
