"""The CIFAR nets of github.com/akamaster/pytorch_resnet_cifar10: 6n+2 layers, or 9n+2 layers with bottlenecks."""

import dataclasses
import re

import numpy as np

from resnet_jax.config import ModelConfig
from resnet_jax.weights.arrays import Array, Arrays
from resnet_jax.weights.formats.base import STAGED_FIRST, Format, Found, NetFacts, staged_block, staged_module


class Akamaster(Format):
    """Nets with three stages and option A or B, saved inside DataParallel. Option A has zero channels on both sides."""

    name = "akamaster"
    holds = "'cifar', nets of 6n+2 or 9n+2 layers"
    first = STAGED_FIRST
    usual_prefix = "module."
    family = "cifar"

    def claims(self, found: Found) -> bool:
        return STAGED_FIRST in found.shapes and len(found.stages) != 4

    def net(self, found: Found) -> NetFacts:
        stages, block = found.stages, staged_block(found)
        per_block = 6 if block == "basic" else 9
        depth = per_block * stages[0] + 2 if len(stages) == 3 and len(set(stages)) == 1 else None
        shortcut = "B" if any(".shortcut." in name for name in found.shapes) else "A"
        model = found.model(
            stages,
            block,
            depth,
            stem="conv1",
            head="linear",
            usual_width=16,
            family="cifar",
            shortcut=shortcut,
            shortcut_padding="both" if shortcut == "A" else "end",
        )
        return NetFacts(model, found.axes("conv1.weight", 4)[1])

    def module(self, name: str) -> str:
        return staged_module(name, head="linear", shortcut="shortcut")

    def writable(self, model: ModelConfig, arrays: Arrays) -> tuple[ModelConfig, Arrays, tuple[str, ...]]:
        if (model.shortcut, model.shortcut_padding, model.activation_order) != ("A", "end", "original"):
            return model, arrays, ()
        note = (
            "in option A, this net has the zero channels at the end, and akamaster's nets have them on both sides; "
            "the channels are written in another order, which makes the two nets equal"
        )
        return dataclasses.replace(model, shortcut_padding="both"), centred(model, arrays), (note,)


def centred(model: ModelConfig, arrays: Arrays) -> Arrays:
    """Converts a net with option A. Its zero channels are at the end; in the result, they are on both sides.

    A net computes the same logits if the channels of a stage are permuted in all arrays that read or write them. With
    zeros at the end, the shortcut copies channel c of a stage to channel c of the next stage. With zeros on both sides,
    it copies channel c to channel c + k, where k is half the number of new channels.

    So the channels of each stage are permuted. The copied channels move to the middle, and have the order that they
    have in the previous stage. One half of the new channels goes before them, the other half after them.
    """
    orders = [np.arange(model.base_width)]  # for the stem and each stage: the old channel at each new position
    for width in (w * model.expansion for w in model.stage_widths):
        before, (old,) = orders[-1], (orders[-1].size,)
        front = (width - old) // 2
        new = np.arange(old, width)
        orders.append(np.concatenate([new[:front], before, new[front:]]))
    return {name: _permuted(name, array, orders, model) for name, array in arrays.items()}


def _permuted(name: str, array: Array, orders: list[Array], model: ModelConfig) -> Array:
    module, leaf = name.split("/", 1)
    if array.ndim == 0:
        return array
    if module in ("stem_conv", "stem_norm"):
        return array  # the stem keeps its order
    if module == "head":
        return array[orders[-1]] if leaf == "kernel" else array
    match = re.fullmatch(r"stage(\d+)_block(\d+)", module)
    assert match is not None
    stage, block = int(match[1]), int(match[2])
    layer = leaf.partition("/")[0]
    if layer == "conv1":  # reads the previous block's output: [3, 3, in, out]
        array = array[:, :, orders[stage - 1 if block == 1 else stage], :]
    last = 2 if model.block_kind == "basic" else 3
    if layer in (f"conv{last}", f"norm{last}"):
        array = array[..., orders[stage]]
    return np.ascontiguousarray(array)


FORMAT = Akamaster()
