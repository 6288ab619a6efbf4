"""Evaluation by ten crops, or by the whole image at several sizes (He et al. 2015, Sec. 3.4).

The result is the mean of the probabilities (softmax) over all crops and their mirror images, and over all passes. For a
whole image, the net gives one vector of logits. Its average pooling covers a map of any size, and its last layer is
linear, so this is the mean of the logits at all positions of the map: the net in fully convolutional form. The paper
does not say whether it averages logits or probabilities, and whether it uses mirror images at several sizes. Here
probabilities are averaged, and mirror images are used, as in the works that the paper follows.
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
"""Images [N, H, W, C] to the mean of the probabilities of each and of its mirror image, [N, K]."""
# Number of batches that are prepared ahead; below stream.SLOTS.
AHEAD = 1


@dataclass(frozen=True)
class Looked:
    """The images of one call, by position; the last ones repeat an image if there are too few."""

    index: Index
    count: int
    """The number of positions, from the first, that count; the others are padding."""
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
    """The mean probabilities of every image over the passes of a protocol: [N, K].

    Args:
      source: the images.
      looks: see crops.passes.
      predict: from the `rows` of images of equal shape to the probabilities of all of them. It is called with few
        shapes, and with one number of images for each shape.
      classes: K.
      batch_size: images of the source's size in one call; larger images are fewer in a call.
      multiple_of: the number of devices, which divides the number of images of every call.
      rows: from the number of images of a call to those that this process prepares; see Devices.rows.
      count: receives each batch when it is finished.

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
    """Yields every image once for each pass, in batches of images of equal shape."""
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
