"""Lesions: the effect of deleting or swapping blocks of a trained net (Veit et al. 2016, Sec. 4).

A deleted block becomes the identity. In a residual net this removes the residual branch and keeps the shortcut. A ReLU
after the addition then has no effect, because its input is the output of another ReLU. In a plain net the deletion
removes a part of the only path. Blocks that change the shape of their input are never deleted.

The set of deleted blocks is an argument of a compiled function. Blocks are swapped by swapping their variables. So one
compilation is enough for all lesions of a net.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array

from resnet_jax.analysis.gradient_identity import by_stage
from resnet_jax.analysis.modules import eval_mode, intercepted, preserved_blocks
from resnet_jax.models.resnet import ResNet

Bools = npt.NDArray[np.bool_]
Swap = tuple[str, str]


class Lesion(NamedTuple):
    """A change of a net: the blocks to delete, and the blocks to swap."""

    deleted: frozenset[str] = frozenset()
    """Names of the deleted blocks."""
    swaps: tuple[Swap, ...] = ()
    """Pairs of block names. The swaps are made one after another."""


NONE = Lesion()


class Patient:
    """A net whose blocks can be deleted or swapped, with the images for measuring its error."""

    def __init__(self, model: ResNet, variables: Any, images: Any, labels: Any, batch_size: int = 512) -> None:
        """
        Args:
          model: net with `stages="unrolled"`.
          variables: variables of the model.
          images: [N, H, W, C], normalised.
          labels: [N] int32.
          batch_size: number of images in a batch.
        """
        self.blocks = preserved_blocks(model, variables, images)
        """Names of the blocks that can be deleted, in the order of computation."""
        self._variables, self._batches = variables, list(_batches(images, labels, batch_size))
        self._examples = len(labels)

        @jax.jit
        def wrong(variables: Any, alive: Array, images: Array, labels: Array, weight: Array) -> Array:
            logits = lesioned(model, variables, images, dict(zip(self.blocks, alive, strict=True)))
            return ((jax.lax.argmax(logits, 1, labels.dtype) != labels) & weight).sum()

        self._wrong = wrong

    @property
    def swappable(self) -> list[Swap]:
        """All pairs of blocks in the same stage whose variables have the same names and shapes."""
        kinds = {name: jax.tree.map(np.shape, self._of(name)) for name in self.blocks}
        return [
            (a, b)
            for members in by_stage(self.blocks)
            for i, a in enumerate(members)
            for b in members[i + 1 :]
            if kinds[a] == kinds[b]
        ]

    def error(self, lesion: Lesion) -> float:
        """The fraction of misclassified images after a lesion, in eval mode."""
        variables = swapped(self._variables, lesion.swaps)
        alive = np.array([name not in lesion.deleted for name in self.blocks])
        wrong = [self._wrong(variables, alive, *batch) for batch in self._batches]
        return float(sum(map(int, wrong))) / self._examples

    def _of(self, block: str) -> dict[str, Any]:
        return {collection: values[block] for collection, values in self._variables.items() if block in values}


def lesioned(model: ResNet, variables: Any, images: Array, alive: dict[str, Array]) -> Array:
    """Computes logits in eval mode, [N, classes], of a net in which some blocks are replaced by the identity.

    Args:
      model, variables, images: as for `Patient`.
      alive: boolean scalars by block name; False deletes the block. Blocks that are not in the dictionary are kept.
    """

    def cut(module: nn.Module, name: str, x: Array, call: Callable[[Array], Any]) -> Any:
        return jnp.where(alive[name], call(x), x) if name in alive else call(x)

    with intercepted(cut):
        return eval_mode(model, variables, images)


def swapped(variables: Any, swaps: Sequence[Swap]) -> Any:
    """Returns variables in which pairs of blocks are swapped, in every collection. The argument is not changed."""
    collections = {name: dict(values) for name, values in variables.items()}
    for a, b in swaps:
        for values in collections.values():
            values[a], values[b] = values[b], values[a]
    return collections


def _batches(images: Any, labels: Any, size: int) -> Iterator[tuple[Any, Any, Bools]]:
    """Yields batches of equal size: images, labels, and a mask that is False for the padding of the last batch."""
    size = min(size, len(labels))
    for start in range(0, len(labels), size):
        index = np.minimum(np.arange(start, start + size), len(labels) - 1)
        yield images[index], labels[index], np.arange(start, start + size) < len(labels)


def plan(blocks: Sequence[str], swappable: Sequence[Swap], repeats: int, seed: int) -> dict[str, list[list[Lesion]]]:
    """Lists the lesions to measure, by kind.

    Returns:
      "single": a list for each block, with one lesion that deletes this block. "deleted": for k = 1, 2, ..., a list of
      `repeats` lesions that delete k random blocks. "swapped": for k = 1, 2, ..., a list of `repeats` lesions that swap
      k random pairs; empty if no pair can be swapped.
    """
    rng = np.random.default_rng(seed)

    def random_blocks(k: int) -> Lesion:
        return Lesion(deleted=frozenset(rng.choice(blocks, k, replace=False).tolist()))

    def random_swaps(k: int) -> Lesion:
        return Lesion(swaps=tuple(swappable[i] for i in rng.integers(len(swappable), size=k)))

    deep = range(1, len(blocks) + 1)
    return {
        "single": [[Lesion(deleted=frozenset({name}))] for name in blocks],
        "deleted": [[random_blocks(k) for _ in range(repeats)] for k in deep],
        "swapped": [[random_swaps(k) for _ in range(repeats)] for k in deep] if swappable else [],
    }
