"""Batches for evaluation with ten crops, or with the whole image at several sizes (He et al. 2015, Sec. 3.4).

The result for an image is the mean of the probabilities (softmax) over all its crops or sizes and their mirror images.

The net takes a whole image of any size, because its last average pooling takes a feature map of any size: it averages
the features over all positions, and then applies the last layer. The paper instead applies the last layer at each
position, and then averages the results. Both ways give the same logits, because the last layer is linear.

The paper does not say whether logits or probabilities are averaged. It also does not say whether mirror images are
used in the evaluation at several sizes. Here probabilities are averaged and mirror images are used, as in the works
that the paper follows.
"""

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
class PassBatch:
    """A batch of images for one pass of an evaluation protocol."""

    index: Index
    """[B] int64, positions of the images. Entries from `count` on are padding: they repeat the last image."""
    count: int
    """Number of images without padding."""
    pass_: Pass
    """The pass in which the images are evaluated."""


def batches(source: StreamSource, passes: Sequence[Pass], batch_size: int, multiple_of: int) -> Iterator[PassBatch]:
    """Yields batches that contain every image once for each pass.

    The images of a batch have one shape. All batches with images of the same shape have the same length, so that one
    program is compiled for each shape.

    Args:
      source: the images.
      passes: the passes; see crops.passes.
      batch_size: number of images in a batch, for images of the size `source.shape`. With larger images, or with
        several crops of each image, a batch has fewer images.
      multiple_of: the number of devices; the length of every batch is a multiple of it.
    """
    for pass_ in passes:
        if pass_.crop is None:
            shapes, of = np.unique(source.view_shapes(pass_), axis=0, return_inverse=True)
            groups = [np.flatnonzero(of.reshape(-1) == i) for i in range(len(shapes))]
            areas = [int(width) * int(height) for width, height in shapes]
        else:
            groups, areas = [np.arange(len(source))], [pass_.crop**2 * (5 if pass_.corners else 1)]
        for group, area in zip(groups, areas, strict=True):
            rows = padded(max(1, batch_size * source.shape[0] ** 2 // area), multiple_of)
            for start in range(0, len(group), rows):
                index = group[start : start + rows]
                yield PassBatch(np.pad(index, (0, rows - len(index)), mode="edge"), len(index), pass_)
