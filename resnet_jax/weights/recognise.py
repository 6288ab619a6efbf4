"""Which net a state dict is of, told from its names and shapes; and what it lacks or has too much for that net."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from resnet_jax.config import IMAGENET_BASIC_DEPTHS, IMAGENET_STAGES, ModelConfig
from resnet_jax.data.listing import some
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import build
from resnet_jax.weights.names import AKAMASTER, COUNT, STATISTICS, TORCHVISION, Naming, Shape, layout_shape

BottleneckStride = Literal["1x1", "3x3"]


@dataclass(frozen=True)
class Recognised:
    """What a state dict is of."""

    naming: Naming
    model: ModelConfig
    channels: int
    """Of the images."""


@dataclass(frozen=True)
class Differences:
    """Between the arrays that a net has and those of a file, by the file's names."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    """Each with both shapes: "fc.weight (10, 64), needed (10, 32)"."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen)

    def __str__(self) -> str:
        parts = dataclasses.asdict(self).items()
        return "; ".join(f"{len(names)} {kind}: {some(names)}" for kind, names in parts if names)


class Mismatch(UserError):
    """Arrays that are not those of the net; `differences` has all of them, the message the first."""

    def __init__(self, file: str, net: str, differences: Differences) -> None:
        super().__init__(f"{file}: not the arrays of {net}: {differences}.")
        self.differences = differences


def describe(model: ModelConfig) -> str:
    """A net in a few words, for messages: "resnet-20 (cifar, basic blocks, width 16, 10 classes)"."""
    return (
        f"{model.net}-{model.depth} ({model.family}, {model.block_kind} blocks, width {model.base_width}, "
        f"{model.num_classes} classes)"
    )


def shapes(model: ModelConfig, channels: int) -> dict[str, Shape]:
    """Every array of a net, by our names: parameters and running statistics."""
    images = jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32)
    net = build(dataclasses.replace(model, dtype="float32"))
    trees = jax.eval_shape(lambda key, x: net.init(key, x, train=False), jax.random.key(0), images)
    return {
        "/".join(key.key for key in path): leaf.shape
        for tree in (trees["params"], trees["batch_stats"])
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def counts(names: Mapping[str, Shape]) -> dict[str, Shape]:
    """The counts of batches that a net's batch norms may have beside their statistics."""
    return {f"{name.rpartition('/')[0]}/{COUNT}": () for name in names if name.rpartition("/")[2] == STATISTICS[0]}


def require_arrays(
    needed: Mapping[str, Shape], optional: Mapping[str, Shape], found: Mapping[str, Shape], file: str, net: str
) -> None:
    """Makes sure that a file has what a net needs, in its shapes, and nothing else.

    Raises:
      Mismatch: it has not.
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


def pytorch_shapes(names: Mapping[str, Shape], naming: Naming) -> dict[str, Shape]:
    """Shapes of our arrays under PyTorch's names and in its layouts."""
    return {naming.theirs(name): layout_shape(shape) for name, shape in names.items()}


def recognise(found: Mapping[str, Shape], file: str, bottleneck_stride: BottleneckStride | None = None) -> Recognised:
    """The net whose state dict has these names and shapes; whether all of them are there is not looked at.

    Depth, units, width, classes and channels are told from the names and shapes, the family from the number of stages.
    What no shape tells is taken as the two projects have it: the stride of a bottleneck on its 3x3 conv (torchvision's
    "v1.5"; the paper's and Caffe's nets have it on the first 1x1), and option A's zero channels on both sides.

    Args:
      found: by names without the prefix "module.".
      file: its name, for messages.
      bottleneck_stride: "1x1" for files of the paper's own nets; None: "3x3".

    Raises:
      UserError: they are of no net that is known here.
    """
    stages = _stages(found)
    if not {"conv1.weight", "layer1.0.conv1.weight"} <= found.keys():
        raise UserError(
            f"{file}: no net of torchvision's resnet18 to resnet152 or akamaster's resnet20 to resnet1202; it holds "
            f"{some(sorted(found))}."
        )
    kind: Literal["basic", "bottleneck"] = "bottleneck" if "layer1.0.conv3.weight" in found else "basic"
    if len(stages) == 4:
        naming, family, usual, shortcut = TORCHVISION, "imagenet", 64, "B"
        units = {d: "basic" if d in IMAGENET_BASIC_DEPTHS else "bottleneck" for d in IMAGENET_STAGES}
        depth = next((d for d, n in IMAGENET_STAGES.items() if n == stages and units[d] == kind), None)
    else:
        naming, family, usual = AKAMASTER, "cifar", 16
        shortcut = "B" if any(".shortcut." in name for name in found) else "A"
        per_block = 6 if kind == "basic" else 9
        depth = per_block * stages[0] + 2 if len(stages) == 3 and len(set(stages)) == 1 else None
    if depth is None:
        raise UserError(
            f"{file}: its stages have {', '.join(map(str, stages))} {kind} blocks; legal: three equal stages, or those "
            f"of ResNet-{', '.join(map(str, IMAGENET_STAGES))}."
        )
    width, channels = _axes(found, "conv1.weight", 4, file)[:2]
    try:
        model = ModelConfig(
            family=family,  # type: ignore[arg-type]
            depth=depth,
            block=kind,
            shortcut=shortcut,  # type: ignore[arg-type]
            shortcut_padding="both" if shortcut == "A" else "end",
            width=None if width == usual else width,
            num_classes=_axes(found, f"{naming.head}.weight", 2, file)[0],
            bottleneck_stride=(bottleneck_stride or "3x3") if kind == "bottleneck" else "1x1",
        )
    except UserError as error:
        raise UserError(f"{file}: no net that can be built: {error}") from None
    return Recognised(naming, model, channels)


def unprefixed(found: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict without the prefix that DataParallel puts before each name."""
    if found and all(name.startswith("module.") for name in found):
        return {name.removeprefix("module."): value for name, value in found.items()}
    return dict(found)


def essentials(model: ModelConfig) -> dict[str, Any]:
    """What decides the values of a net in eval mode, by field of ModelConfig.

    What a field leaves open is filled in, and a field without effect has its default.
    """
    names, idle = ModelConfig.fields_where(lambda role: role.of == "net"), model.without_effect()
    values = {name: model.default(name) if name in idle else model.value(name) for name in names}
    return values | {"width": model.base_width, "block": model.block_kind}


def unlike(one: ModelConfig, other: ModelConfig) -> dict[str, tuple[Any, Any]]:
    """The essentials in which two nets differ, with both values."""
    a, b = essentials(one), essentials(other)
    return {name: (a[name], b[name]) for name in sorted(a) if a[name] != b[name]}


def _axes(found: Mapping[str, Shape], name: str, axes: int, file: str) -> Shape:
    """The shape of an array that every net has."""
    shape = found.get(name)
    if shape is None or len(shape) != axes:
        raise UserError(
            f"{file}: {name} {'is missing' if shape is None else f'has the shape {shape}'}; needed: {axes} axes."
        )
    return shape


def _stages(found: Mapping[str, Shape]) -> tuple[int, ...]:
    """Blocks in each stage, up to the last that has any array."""
    blocks: dict[int, int] = {}
    for name in found:
        if match := re.match(r"layer(\d+)\.(\d+)\.", name):
            stage, block = int(match[1]), int(match[2])
            blocks[stage] = max(blocks.get(stage, 0), block + 1)
    return tuple(blocks.get(stage, 0) for stage in range(1, max(blocks, default=0) + 1))
