"""The arrays of a net by this project's names, and a comparison with the arrays of a file.

A name is a path in the trees of variables, joined by slashes: "stage2_block1/conv1/kernel". Parameters and running
statistics have different leaf names, so no name occurs twice.

A batch norm of PyTorch may also count its batches (`num_batches_tracked`). This count changes no result. It is kept as
the array `batches`, so that a state dict that is read and written again still has it.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy.typing as npt

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import build
from resnet_jax.text import some

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Shape = tuple[int, ...]

STATISTICS = ("mean", "var")
COUNT = "batches"
HEAD = "head"


@dataclass(frozen=True)
class Differences:
    """The missing, unexpected and misshapen arrays of a file, compared with the arrays of a net."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    """Arrays of a wrong shape, as text with both shapes: "fc.weight (10, 64), needed (10, 32)"."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen)

    def __str__(self) -> str:
        parts = dataclasses.asdict(self).items()
        return "; ".join(f"{len(names)} {kind}: {some(names)}" for kind, names in parts if names)


class Mismatch(UserError):
    """A file does not have the arrays of a net. The message names some differences, `differences` has all."""

    def __init__(self, file: str, net: str, differences: Differences) -> None:
        extra = " (experiments.convert --ignore-extra ignores unexpected arrays)" * bool(differences.unexpected)
        super().__init__(f"{file}: not the arrays of {net}: {differences}{extra}.")
        self.differences = differences


def shapes(model: ModelConfig, channels: int) -> dict[str, Shape]:
    """The shapes of all parameters and running statistics of a net, by name.

    `channels` is the number of channels of the images. If `model.num_classes` is None, the last layer is left out.
    """
    images = jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32)
    net = build(dataclasses.replace(model, dtype="float32", num_classes=model.num_classes or 2))
    trees = jax.eval_shape(lambda key, x: net.init(key, x, train=False), jax.random.key(0), images)
    return {
        "/".join(key.key for key in path): leaf.shape
        for tree in (trees["params"], trees["batch_stats"])
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if model.num_classes is not None or path[0].key != HEAD
    }


def shapes_of(arrays: Arrays) -> dict[str, Shape]:
    return {name: array.shape for name, array in arrays.items()}


def counts(names: Mapping[str, Shape]) -> dict[str, Shape]:
    """Names and shapes of the arrays `batches`, which a file may have: one scalar for each batch norm.

    `names` are the names and shapes of the net's other arrays, from `shapes`.
    """
    return {f"{name.rpartition('/')[0]}/{COUNT}": () for name in names if name.rpartition("/")[2] == STATISTICS[0]}


def require_arrays(
    needed: Mapping[str, Shape], optional: Mapping[str, Shape], found: Mapping[str, Shape], file: str, net: str
) -> None:
    """Compares the names and shapes of the arrays in a file with the arrays of a net.

    Args:
      needed: the arrays that the file must have.
      optional: other arrays that the file may have.
      found: the arrays of the file.
      file, net: descriptions of the file and the net, for the message.

    Raises:
      Mismatch: arrays are missing, unexpected or of a wrong shape.
    """
    legal = {**optional, **needed}
    differences = Differences(
        tuple(name for name in needed if name not in found),
        tuple(name for name in found if name not in legal),
        tuple(
            f"{name} {shape}, needed {legal[name]}"
            for name, shape in found.items()
            if name in legal and shape != legal[name]
        ),
    )
    if differences:
        raise Mismatch(file, net, differences)
