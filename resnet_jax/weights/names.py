"""What PyTorch's nets call the arrays that we call "stage2_block1/conv1/kernel", and how they lay them out.

Our names are paths in the trees of variables, joined by slashes; parameters and running statistics share them, for
their leaves are called differently. A batch norm of PyTorch's may also count the batches that it has seen, which
changes no result: the count is kept as `batches`, so that a file comes back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Shape = tuple[int, ...]

LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "batches": "num_batches_tracked",
}
STATISTICS = ("mean", "var")
COUNT = "batches"


@dataclass(frozen=True)
class Naming:
    """One project's names."""

    name: str
    prefix: str
    """In files of nets that were saved inside DataParallel; read whether it is there or not."""
    head: str
    shortcut: str
    """Of a projection: its conv is number 0 and its batch norm number 1."""

    def theirs(self, name: str) -> str:
        """PyTorch's name of one of our arrays."""
        *modules, leaf = name.split("/")
        return self.prefix + ".".join([*map(self._module, modules), LEAVES.get(leaf, leaf)])

    def _module(self, name: str) -> str:
        if block := re.fullmatch(r"stage(\d+)_block(\d+)", name):
            return f"layer{block[1]}.{int(block[2]) - 1}"
        named = {"stem_conv": "conv1", "stem_norm": "bn1", "head": self.head}
        named |= {"shortcut_conv": f"{self.shortcut}.0", "shortcut_norm": f"{self.shortcut}.1"}
        return named.get(name, name.replace("norm", "bn"))


TORCHVISION = Naming("torchvision", prefix="", head="fc", shortcut="downsample")
AKAMASTER = Naming("akamaster", prefix="module.", head="linear", shortcut="shortcut")
"""github.com/akamaster/pytorch_resnet_cifar10."""


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


def to_pytorch(arrays: Mapping[str, Array], naming: Naming) -> Arrays:
    """Our arrays under PyTorch's names and in its layouts."""
    return {naming.theirs(name): layout(array) for name, array in arrays.items()}


def from_pytorch(state: Mapping[str, Array], naming: Naming, ours: Iterable[str]) -> Arrays:
    """PyTorch's arrays under our names and in our layouts.

    Args:
      state: by PyTorch's names, `naming.prefix` included.
      ours: names of all arrays that there may be; those that `state` lacks are left out.
    """
    return {name: layout_back(state[naming.theirs(name)]) for name in ours if naming.theirs(name) in state}
