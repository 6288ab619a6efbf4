"""What every format of a PyTorch state dict has in common: names, layouts, and the net that names and shapes tell."""

from __future__ import annotations

import abc
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from resnet_jax.config import IMAGENET_STAGES, ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.weights.arrays import Array, Arrays, Shape

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
class Found:
    """The names and shapes of a state dict, without the prefix that DataParallel puts before each name."""

    shapes: Mapping[str, Shape]
    file: str
    """Its name, for messages."""
    bottleneck_stride: BottleneckStride | None = None
    """"1x1" for files of the paper's own nets; None: "3x3", torchvision's "v1.5". No shape tells it."""

    @property
    def stages(self) -> tuple[int, ...]:
        """Blocks in each stage "layer1", "layer2", ..., up to the last that has any array."""
        blocks: dict[int, int] = {}
        for name in self.shapes:
            if match := re.match(r"layer(\d+)\.(\d+)\.", name):
                stage, block = int(match[1]), int(match[2])
                blocks[stage] = max(blocks.get(stage, 0), block + 1)
        return tuple(blocks.get(stage, 0) for stage in range(1, max(blocks, default=0) + 1))

    @property
    def block(self) -> Literal["basic", "bottleneck"]:
        """The kind of block: a bottleneck has a third convolution."""
        return "bottleneck" if "layer1.0.conv3.weight" in self.shapes else "basic"

    def has_stages(self) -> bool:
        """Whether the arrays are named as those of a net in stages "layer1", "layer2", ... are."""
        return {"conv1.weight", "layer1.0.conv1.weight"} <= self.shapes.keys()

    def axes(self, name: str, axes: int) -> Shape:
        """The shape of an array that every net has.

        Raises:
          UserError: the array is missing, or has another number of axes.
        """
        shape = self.shapes.get(name)
        if shape is None or len(shape) != axes:
            problem = "is missing" if shape is None else f"has the shape {shape}"
            raise UserError(f"{self.file}: {name} {problem}; needed: {axes} axes.")
        return shape

    def model(self, *, depth: int | None, head: str, usual_width: int, **fields: Any) -> ModelConfig:
        """The net whose names and shapes these are.

        Args:
          depth: of the net; None: no legal net has these stages.
          head: PyTorch's name of the last layer.
          usual_width: width of the published nets, which a config leaves open.
          fields: other fields of ModelConfig.

        Raises:
          UserError: there is no such net.
        """
        if depth is None:
            raise UserError(
                f"{self.file}: its stages have {', '.join(map(str, self.stages))} {self.block} blocks; legal: three "
                f"equal stages, or those of ResNet-{', '.join(map(str, IMAGENET_STAGES))}."
            )
        width = self.axes("conv1.weight", 4)[0]
        try:
            return ModelConfig(
                depth=depth,
                block=self.block,
                width=None if width == usual_width else width,
                num_classes=self.axes(f"{head}.weight", 2)[0],
                bottleneck_stride=(self.bottleneck_stride or "3x3") if self.block == "bottleneck" else "1x1",
                **fields,
            )
        except UserError as error:
            raise UserError(f"{self.file}: no net that can be built: {error}") from None


@dataclass(frozen=True)
class Told:
    """What names and shapes tell of a net."""

    model: ModelConfig
    channels: int
    """Of the images."""


class Format(abc.ABC):
    """One project's state dicts."""

    name: str
    prefix: str = ""
    """What files of the project put before each name; read whether it is there or not."""

    @abc.abstractmethod
    def net(self, found: Found) -> Told | None:
        """The net whose state dict has these names and shapes; None: the names are not this format's.

        Whether all of the arrays are there is not looked at.

        Raises:
          UserError: the names are this format's, but no net is known that has these shapes.
        """

    @abc.abstractmethod
    def writes(self, model: ModelConfig) -> bool:
        """Whether nets of this family are exported in this format."""

    @abc.abstractmethod
    def module(self, name: str) -> str:
        """PyTorch's name of a module that we call "stem_conv", "stage1_block1", "conv1", "norm1", "head"."""

    def theirs(self, name: str) -> str:
        """PyTorch's name of one of our arrays, without `prefix`."""
        *modules, leaf = name.split("/")
        return ".".join([*map(self.module, modules), LEAVES.get(leaf, leaf)])

    def shapes(self, ours: Mapping[str, Shape]) -> dict[str, Shape]:
        """Shapes of our arrays under PyTorch's names and in its layouts."""
        return {self.theirs(name): layout_shape(shape) for name, shape in ours.items()}

    def to_pytorch(self, arrays: Mapping[str, Array]) -> Arrays:
        """Our arrays under PyTorch's names, with `prefix`, and in its layouts."""
        return {self.prefix + self.theirs(name): layout(array) for name, array in arrays.items()}

    def from_pytorch(self, state: Mapping[str, Array], ours: Iterable[str]) -> Arrays:
        """PyTorch's arrays under our names and in our layouts.

        Args:
          state: by PyTorch's names, without `prefix`.
          ours: names of all arrays that there may be; those that `state` lacks are left out.
        """
        return {name: layout_back(state[self.theirs(name)]) for name in ours if self.theirs(name) in state}


def staged_module(name: str, head: str, shortcut: str) -> str:
    """PyTorch's name of a module in nets with stages "layer1", "layer2", ...

    Args:
      name: our name.
      head: PyTorch's name of the last layer.
      shortcut: PyTorch's name of a projection, whose conv is number 0 and whose batch norm is number 1.
    """
    if block := re.fullmatch(r"stage(\d+)_block(\d+)", name):
        return f"layer{block[1]}.{int(block[2]) - 1}"
    named = {"stem_conv": "conv1", "stem_norm": "bn1", "head": head}
    named |= {"shortcut_conv": f"{shortcut}.0", "shortcut_norm": f"{shortcut}.1"}
    return named.get(name, name.replace("norm", "bn"))


def layout(array: Array) -> Array:
    """A kernel as PyTorch has it: HWIO -> OIHW, [in, out] -> [out, in]; anything else as it is."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
    return array if axes is None else np.ascontiguousarray(array.transpose(axes))


def layout_back(array: Array) -> Array:
    """The inverse of `layout`."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim)
    return array if axes is None else np.ascontiguousarray(array.transpose(axes))


def layout_shape(shape: Shape) -> Shape:
    """The shape of what `layout` gives."""
    return layout(np.empty(shape, np.bool_)).shape


def unprefixed(found: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict without the prefix that DataParallel puts before each name."""
    if found and all(name.startswith("module.") for name in found):
        return {name.removeprefix("module."): value for name, value in found.items()}
    return dict(found)
