"""Evaluation by several looks at each image: ten crops, or the whole image at several sizes (He et al. 2015, Sec. 3.4).

What is averaged: the probabilities (softmax) of a look's crops and of their mirror images, over all looks, each alike.
Of a whole image the net makes one vector of logits: its last average pooling covers the map of any size and its last
layer is linear, so these are the mean of the logits at all positions of the map. That is the net in fully convolutional
form. The paper does not say whether logits or probabilities are averaged, nor whether mirror images take part at
several sizes; here they do, as in the works that it follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from resnet_jax.data.crops import Pass
from resnet_jax.data.dataset import Images
from resnet_jax.data.order import announced, padded
from resnet_jax.data.stream import StreamSource

Floats: TypeAlias = npt.NDArray[np.floating]
Index: TypeAlias = npt.NDArray[np.int64]
Predict: TypeAlias = Callable[[Images], Floats]
"""From images [N, H, W, C] to the mean of the probabilities of each and of its mirror image [N, K]."""
# Batches made ahead of the one that is asked for: below stream.SLOTS.
AHEAD = 1


@dataclass(frozen=True)
class Looked:
    """Images that one call sees together, by position; the last ones repeat an image where there are too few."""

    index: Index
    count: int
    """How many of the first positions count; the others are padding."""
    look: Pass


def probabilities(
    source: StreamSource,
    looks: Sequence[Pass],
    predict: Predict,
    *,
    classes: int,
    batch_size: int,
    multiple_of: int = 1,
    rows: Callable[[int], slice] = lambda size: slice(size),
    count: Callable[[Looked], None] = lambda batch: None,
) -> npt.NDArray[np.float64]:
    """The mean probabilities of every image over the looks of a protocol: [N, K].

    Args:
      source: the images.
      looks: see crops.passes.
      predict: takes the `rows` of images of equal shape, and gives the probabilities of all of them. It is called with
        few shapes, and with one number of images for each.
      classes: K.
      batch_size: images of the source's size that are looked at together; fewer of a larger size.
      multiple_of: the number of devices, which divides the number of images of every call.
      rows: takes the number of images of a call, and gives those that this process makes; see Devices.rows.
      count: receives every batch, once its images are counted.

    Raises:
      UserError: an image cannot be read.
    """

    def own(batch: Looked) -> Index:
        return batch.index[rows(len(batch.index))]

    total = np.zeros((len(source), classes), np.float64)
    todo = _batches(source, looks, batch_size, multiple_of)
    for batch in announced(todo, lambda batch: source.begin(own(batch), None, batch.look), AHEAD):
        seen = source.views(own(batch), batch.look)  # [B, V, H, W, C], or this process's part of B
        found = predict(seen.reshape(-1, *seen.shape[2:])).reshape(len(batch.index), seen.shape[1], classes)
        meant = batch.index[: batch.count]
        total[meant] += found[: batch.count].mean(axis=1) / len(looks)
        count(batch)
    return total


def _batches(source: StreamSource, looks: Sequence[Pass], batch_size: int, multiple_of: int) -> Iterator[Looked]:
    """Every image once for each look, in batches whose images have one shape."""
    for look in looks:
        if look.crop is None:
            shapes, of = np.unique(source.view_shapes(look), axis=0, return_inverse=True)
            groups = [np.flatnonzero(of.reshape(-1) == i) for i in range(len(shapes))]
            areas = [int(width) * int(height) for width, height in shapes]
        else:
            groups, areas = [np.arange(len(source))], [look.crop**2 * (5 if look.corners else 1)]
        for group, area in zip(groups, areas, strict=True):
            rows = padded(max(1, batch_size * source.shape[0] ** 2 // area), multiple_of)
            for start in range(0, len(group), rows):
                index = group[start : start + rows]
                yield Looked(np.pad(index, (0, rows - len(index)), mode="edge"), len(index), look)
