"""Evaluation by ten crops, or by the whole image at several sizes (He et al. 2015, Sec. 3.4).

The result is the mean of the probabilities (softmax) over all crops and their mirror images, and over all passes. For a
whole image, the net gives one vector of logits. Its average pooling covers a map of any size, and its last layer is
linear, so this is the mean of the logits at all positions of the map: the net in fully convolutional form. The paper
does not say whether it averages logits or probabilities, and whether it uses mirror images at several sizes. Here
probabilities are averaged, and mirror images are used, as in the works that the paper follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from resnet_jax.data.crops import Pass
from resnet_jax.data.order import padded
from resnet_jax.data.stream import StreamSource

Index: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Looked:
    """The images of one call, by position; the last ones repeat an image if there are too few."""

    index: Index
    count: int
    """The number of positions, from the first, that count; the others are padding."""
    look: Pass


def batches(source: StreamSource, looks: Sequence[Pass], batch_size: int, multiple_of: int) -> Iterator[Looked]:
    """Every image once for each look, in batches whose images have one shape; for a shape all batches have one length.

    Args:
      source: the images.
      looks: see crops.passes.
      batch_size: images of the source's size in a batch; fewer of a larger size.
      multiple_of: the number of devices, which divides the number of images of every batch.
    """
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
