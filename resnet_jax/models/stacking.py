"""Converts between two layouts of a net's variables: block by block, and stacked by stage.

In the first layout, each block has its own arrays ("stage2_block3"). Files, records and tools use this layout. In the
second layout, only the first block of a stage has its own arrays. The other blocks of the stage share stacked arrays
("stage2_rest"), whose first axis counts these blocks. A net that loops over these blocks with a scan uses this layout;
its compiled program is as long for 1202 layers as for 20.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from resnet_jax.config import ModelConfig
from resnet_jax.types import Tree, Variables

# The largest depth at which "auto" does not scan.
UNROLLED_DEPTH = 200


def scans(config: ModelConfig) -> bool:
    """Whether the blocks of a stage are computed in a scan, according to `config.stages`."""
    return config.stages == "scanned" or (config.stages == "auto" and config.depth > UNROLLED_DEPTH)


def block_name(stage: int, block: int) -> str:
    """The name of a block, such as "stage2_block3"; both numbers count from 1."""
    return f"stage{stage}_block{block}"


def rest_name(stage: int) -> str:
    """The name of the stacked blocks of a stage, such as "stage2_rest"."""
    return f"stage{stage}_rest"


def stage_of(module: str, stages: int) -> int:
    """The number of the stage to which a submodule of a net belongs; stages count from 1.

    The stem belongs to the first stage, and the BN after the last block to the last stage. For the last layer ("head"),
    the number is `stages + 1`.

    Args:
      module: name of the submodule, such as "stage2_block3".
      stages: number of stages of the net.
    """
    if module.startswith("stem"):
        return 1
    if module == "final_norm":
        return stages
    return stages + 1 if module == "head" else int(module.removeprefix("stage").split("_")[0])


def stacked_stages(config: ModelConfig) -> dict[int, range]:
    """The stages whose blocks are stacked: {number of the stage: numbers of its stacked blocks}.

    A stage is stacked if it has at least three blocks, and all blocks except the first have the same shortcut
    (`model.cut` can remove the shortcuts of some blocks).
    """
    rests = {i: range(2, n + 1) for i, n in enumerate(config.stage_blocks, start=1) if n > 2}
    return {i: rest for i, rest in rests.items() if len({config.shortcut_of((i, j)) for j in rest}) == 1}


def stack(tree: Tree, config: ModelConfig) -> Tree:
    """Converts the variables of nets from the layout "block by block" to the layout "stacked by stage".

    Args:
      tree: a pytree with NumPy arrays as leaves. Each part of it that has the layout of a net is converted: parameters,
        running statistics, momenta. Other parts are unchanged.
      config: configuration of the net.
    """

    def convert(net: Variables) -> Variables:
        net = dict(net)
        for stage, blocks in stacked_stages(config).items():
            members = [net.pop(block_name(stage, block)) for block in blocks]
            net[rest_name(stage)] = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
        return net

    return _each_net(tree, convert)


def unstack(tree: Tree, config: ModelConfig) -> Tree:
    """Converts from the layout "stacked by stage" to "block by block": the inverse of `stack`."""

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
