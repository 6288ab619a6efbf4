"""The base class of formats: they translate names and layouts of arrays, and find a net from names and shapes."""

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
    """Properties of a net that the names and shapes in its state dict do not show."""

    bottleneck_stride: BottleneckStride | None = None
    """Convolution with a bottleneck's stride: "1x1" in the paper, "3x3" in "v1.5"; None: the project's default."""
    epsilon: float | None = None
    """Epsilon of the batch norms; None: PyTorch's 1e-5."""


@dataclass(frozen=True)
class Found:
    """The names (without wrappers' prefixes) and shapes in a state dict, and the JSON files in its folder."""

    shapes: Mapping[str, Shape]
    file: str
    """Name of the file, for messages."""
    unsaid: Unsaid = Unsaid()
    config: Mapping[str, Any] | None = None
    """Content of config.json in the file's folder; None if it is missing, or not timm's or transformers'."""
    preprocessor: Mapping[str, Any] | None = None
    """Content of preprocessor_config.json in the file's folder; None if it is missing."""

    def beside(self, name: str) -> Path:
        """The path of the file `name` in the folder of the state dict."""
        return Path(self.file).with_name(name)

    @property
    def stages(self) -> tuple[int, ...]:
        """The number of blocks in each stage, if names begin with the stage and the block, such as "layer1.0."."""
        return self.blocks(r"layer(\d+)\.(\d+)\.", first=1)

    def blocks(self, pattern: str, first: int) -> tuple[int, ...]:
        """The number of blocks in each stage.

        `pattern` matches the beginning of an array's name. Its first group is the number of the stage, counted from
        `first`. Its second group is the number of the block, counted from 0.
        """
        blocks: dict[int, int] = {}
        for name in self.shapes:
            if match := re.match(pattern, name):
                stage, block = int(match[1]) - first, int(match[2])
                blocks[stage] = max(blocks.get(stage, 0), block + 1)
        last = max(blocks, default=-1)
        # A damaged name may contain any number. No net has 16 stages.
        return tuple(blocks.get(stage, 0) for stage in range(min(last + 1, 16)))

    def has_head(self, head: str) -> bool:
        """Whether the net has a last layer, whose name in PyTorch is `head`."""
        return any(name.startswith(f"{head}.") for name in self.shapes)

    def axes(self, name: str, axes: int) -> Shape:
        """The shape of the array `name`, which must exist and must have `axes` axes.

        Raises:
          UserError: the array is missing, or has another number of axes.
        """
        shape = self.shapes.get(name)
        if shape is None or len(shape) != axes:
            problem = "is missing" if shape is None else f"has the shape {shape}"
            layer = "a convolution" if axes == 4 else "the last layer"
            raise UserError(f"{self.file}: {name} {problem}; legal: weights of {layer}, an array with {axes} axes.")
        return shape

    def imagenet_model(
        self, stages: tuple[int, ...], block: Literal["basic", "bottleneck"], **fields: Any
    ) -> ModelConfig:
        """The configuration of an ImageNet net. For arguments and errors see `model`."""
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
        """The configuration of the net. Its `num_classes` is None if the last layer is missing.

        Args:
          stages: number of blocks in each stage.
          block: kind of block.
          depth: depth of the net; None if no legal net has these stages.
          stem, head: PyTorch's names of the first convolution and of the last layer.
          usual_width: width of the published nets; for this width, `ModelConfig.width` is None.
          fields: other fields of ModelConfig.

        Raises:
          UserError: `depth` is None, or ModelConfig refuses a value.
        """
        if depth is None or sum(stages) > len(self.shapes):  # a damaged name may contain any number
            raise UserError(
                f"{self.file}: its stages have {', '.join(map(str, stages))} {block} blocks; legal: three equal "
                f"stages, or the stages of ResNet-{', '.join(map(str, IMAGENET_STAGES))}."
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
            raise UserError(f"{self.file}: its net cannot be built: {error}") from None


@dataclass(frozen=True)
class NetFacts:
    """All that a state dict, and the JSON files in its folder, show about a net."""

    model: ModelConfig
    """The net's configuration; `num_classes` is None if the last layer is missing."""
    channels: int
    """Number of channels of the images."""
    class_names: tuple[str, ...] | None = None
    """None if no file has them."""
    preprocessing: Preprocessing | None = None
    """None if no file has it."""


class Format(abc.ABC):
    """The names and layouts in one project's state dicts.

    Each module in this folder has one format, `FORMAT`. A format must be able to read the files that it writes.
    """

    name: str
    holds: str
    """For messages: the family of nets in this format, and which of its nets."""
    first: str
    """PyTorch's name of an array in the first block; text before this name is a wrapper's prefix."""
    usual_prefix: str = ""
    """Prefix of each name in the project's files. Files are written with it, and read with or without it."""
    family: Literal["cifar", "imagenet"] | None = None
    """The family of nets that is written in this format by default; None: no family."""

    @abc.abstractmethod
    def claims(self, found: Found) -> bool:
        """Whether a state dict, with the JSON files in its folder, has this format."""

    @abc.abstractmethod
    def net(self, found: Found) -> NetFacts:
        """Finds the net of a state dict in this format. Does not check that all arrays are there.

        Raises:
          UserError: no known net has these shapes, or a JSON file in the folder does not fit them.
        """

    @abc.abstractmethod
    def module(self, name: str) -> str:
        """Translates this project's name of a module, such as "stem_conv", "conv1" or "head", to PyTorch's name."""

    def writable(self, model: ModelConfig, arrays: Arrays) -> tuple[ModelConfig, Arrays, tuple[str, ...]]:
        """Changes a net so that this format can express it. The net still gives the same logits.

        Returns the configuration, the arrays, and remarks on the changes. Some nets need no change, and this format
        cannot express some others. In both cases the net is returned unchanged, without remarks.
        """
        return model, arrays, ()

    def prefixes(self, names: Iterable[str]) -> set[str]:
        """The wrappers' prefixes of all nets in a state dict, such as "module." or "_orig_mod.module."."""
        first = self.first
        return {name.removesuffix(first) for name in names if name == first or name.endswith(f".{first}")}

    def names(self, ours: Iterable[str]) -> dict[str, str]:
        """PyTorch's name of each array, without the prefix `usual_prefix`. `ours` are this project's names."""
        found = {}
        for name in ours:
            *modules, leaf = name.split("/")
            found[name] = ".".join([*map(self.module, modules), LEAVES.get(leaf, leaf)])
        return found

    def shapes(self, ours: Mapping[str, Shape]) -> dict[str, Shape]:
        """Translates names and shapes of arrays to PyTorch's names (without `usual_prefix`) and layouts."""
        return {theirs: layout(np.empty(ours[name], np.bool_)).shape for name, theirs in self.names(ours).items()}

    def to_pytorch(self, arrays: Mapping[str, Array]) -> Arrays:
        """Translates arrays to PyTorch's names (with `usual_prefix`) and layouts."""
        return {self.usual_prefix + theirs: layout(arrays[name]) for name, theirs in self.names(arrays).items()}

    def from_pytorch(self, state: Mapping[str, Array], ours: Iterable[str]) -> Arrays:
        """Translates arrays from PyTorch's names and layouts to this project's.

        Args:
          state: arrays by PyTorch's names, without prefixes.
          ours: this project's names of all arrays that `state` may have.
        """
        return {name: layout_back(state[theirs]) for name, theirs in self.names(ours).items() if theirs in state}


STAGED_FIRST = "layer1.0.conv1.weight"


def staged_block(found: Found) -> Literal["basic", "bottleneck"]:
    """The kind of block in a net with names such as "layer1.0.conv1": a bottleneck has a third convolution."""
    return "bottleneck" if "layer1.0.conv3.weight" in found.shapes else "basic"


def staged_module(name: str, head: str, shortcut: str) -> str:
    """Translates the name of a module to PyTorch's name, in nets with names such as "layer1.0.conv1".

    Args:
      name: this project's name.
      head: PyTorch's name of the last layer.
      shortcut: PyTorch's name of a projection. It is a torch.nn.Sequential: item 0 is a convolution, item 1 a batch
        norm.
    """
    if block := re.fullmatch(r"stage(\d+)_block(\d+)", name):
        return f"layer{block[1]}.{int(block[2]) - 1}"
    named = {"stem_conv": "conv1", "stem_norm": "bn1", "head": head}
    named |= {"shortcut_conv": f"{shortcut}.0", "shortcut_norm": f"{shortcut}.1"}
    return named.get(name, name.replace("norm", "bn"))


def layout(array: Array) -> Array:
    """Converts a kernel to PyTorch's layout: HWIO -> OIHW, [in, out] -> [out, in]. Other arrays do not change."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
    return array if axes is None else np.ascontiguousarray(array.transpose(axes))


def layout_back(array: Array) -> Array:
    """Converts a kernel from PyTorch's layout: OIHW -> HWIO, [out, in] -> [in, out]. Other arrays do not change."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim)
    return array if axes is None else np.ascontiguousarray(array.transpose(axes))
