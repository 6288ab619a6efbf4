"""Two layouts of a net's variables: block by block, and stacked by stage for a scan.

Files, records and all tools use the first layout, block by block ("stage2_block3"). A net that scans over the blocks of
a stage takes all but the first together ("stage2_rest"), with a leading axis of blocks. So its program is as long at
1202 layers as at 20. training/program.py converts between the layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from resnet_jax.config import ModelConfig
from resnet_jax.types import Tree, Variables

# The largest depth at which "auto" does not scan.
UNROLLED_DEPTH = 200


def scans(config: ModelConfig) -> bool:
    """Whether the stages of a net are scanned; resolves "auto"."""
    return config.stages == "scanned" or (config.stages == "auto" and config.depth > UNROLLED_DEPTH)


def block_name(stage: int, block: int) -> str:
    """The name of a block; both count from 1."""
    return f"stage{stage}_block{block}"


def rest_name(stage: int) -> str:
    """The name of all of a stage's blocks but the first, stacked."""
    return f"stage{stage}_rest"


def stage_of(module: str, stages: int) -> int:
    """The stage, from 1, to which a module of a net with `stages` stages belongs, given the module's name.

    The stem belongs to the first stage, the BN after the last block to the last stage. The last layer gives `stages +
    1`.
    """
    if module.startswith("stem"):
        return 1
    if module == "final_norm":
        return stages
    return stages + 1 if module == "head" else int(module.removeprefix("stage").split("_")[0])


def stacked_stages(config: ModelConfig) -> dict[int, range]:
    """The stages that are stacked, each with the numbers of its stacked blocks.

    A stage is stacked if it has at least two blocks beside the first and they are equal. It is not stacked if only some
    of them are cut (`model.cut`).
    """
    rests = {i: range(2, n + 1) for i, n in enumerate(config.stage_blocks, start=1) if n > 2}
    return {i: rest for i, rest in rests.items() if len({config.shortcut_of((i, j)) for j in rest}) == 1}


def stack(tree: Tree, config: ModelConfig) -> Tree:
    """Block by block -> stacked by stage.

    Args:
      tree: a pytree that contains variables of nets (parameters, running statistics, momenta), with NumPy arrays as
        leaves; other parts are unchanged.
      config: configuration of the nets.
    """

    def convert(net: Variables) -> Variables:
        net = dict(net)
        for stage, blocks in stacked_stages(config).items():
            members = [net.pop(block_name(stage, block)) for block in blocks]
            net[rest_name(stage)] = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
        return net

    return _each_net(tree, convert)


def unstack(tree: Tree, config: ModelConfig) -> Tree:
    """Stacked by stage -> block by block: the inverse of `stack`."""

    def convert(net: Variables) -> Variables:
        net = dict(net)
        for stage, blocks in stacked_stages(config).items():
            rest = net.pop(rest_name(stage))
            for k, block in enumerate(blocks):
                net[block_name(stage, block)] = jax.tree.map(lambda leaf, k=k: leaf[k], rest)
        return net

    return _each_net(tree, convert)


def _each_net(tree: Tree, convert: Callable[[Variables], Variables]) -> Tree:
    def is_net(node: Any) -> bool:
        return isinstance(node, dict) and block_name(1, 1) in node

    return jax.tree.map(lambda node: convert(node) if is_net(node) else node, tree, is_leaf=is_net)
