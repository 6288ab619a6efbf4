"""Evaluation by the papers' protocols: a net's probabilities for each image, and loss and error from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
import numpy.typing as npt

from resnet_jax.data import Normalization
from resnet_jax.data.crops import Pass
from resnet_jax.data.dataset import Images, Labels
from resnet_jax.data.order import announced
from resnet_jax.data.protocols import PassBatch, batches
from resnet_jax.data.stream import StreamSource
from resnet_jax.models.resnet import ResNet
from resnet_jax.training import processes
from resnet_jax.training.mesh import Devices
from resnet_jax.training.metrics import Tally, Totals
from resnet_jax.training.step import predict_step
from resnet_jax.types import Variables

Floats: TypeAlias = npt.NDArray[np.floating]
# Batches made ahead of the one that is asked for: below stream.SLOTS.
AHEAD = 1


class Predictor:
    """A net in eval mode on the devices, compiled once for each shape of images."""

    def __init__(self, devices: Devices, model: ResNet, normalization: Normalization, precision: str) -> None:
        """Takes the net.

        Args:
          devices: devices that share the images of every call.
          model: the net.
          normalization: for the images; a mean image of another size is replaced by the mean of its pixels.
          precision: precision of matrix products, as in `model.precision`.
        """
        self.devices, self._model, self._normalization, self._precision = devices, model, normalization, precision
        self._compiled: dict[tuple[int, ...], jax.stages.Compiled] = {}  # by the images' shape

    def __call__(self, variables: Variables, images: Images) -> Floats:
        """The mean of the probabilities of each image and of its mirror image: [N, K].

        Args:
          variables: {"params": ..., "batch_stats": ...}, from `Devices.replicate_state`.
          images: [n, H, W, C], this process's `Devices.rows` of N images; N is a multiple of the number of devices.
        """
        at = self.devices.shard(images)
        compiled = self._compiled.get(images.shape)
        if compiled is None:
            compiled = self._compiled[images.shape] = self._compile(variables, at, images.shape)
        found: Floats = self.devices.fetch(compiled(variables, at))
        return found

    def _compile(self, variables: Variables, at: Any, shape: tuple[int, ...]) -> jax.stages.Compiled:
        stats, axis = self._normalization.for_size(shape[1], shape[2]), self.devices.axis_name

        def predict(variables: Variables, images: jax.Array) -> jax.Array:
            return predict_step(variables, images, model=self._model, normalization=stats, axis_name=axis)

        with jax.default_matmul_precision(self._precision):
            return self.devices.compile(predict, variables, at, donate_state=False)


def by_protocol(
    predict: Callable[[Images], Floats],
    source: StreamSource,
    passes: Sequence[Pass],
    *,
    devices: Devices,
    classes: int,
    batch_size: int,
) -> npt.NDArray[np.float64]:
    """The mean probabilities of every image of a source by a protocol, [N, K]; each image counts once in each pass.

    Args:
      predict: takes this process's `Devices.rows` of images of equal shape [n, H, W, C], and gives the probabilities of
        the images of all processes: a Predictor with its variables. It is called with few shapes, and with one number
        of images for each.
      source: the images.
      passes: the passes of the protocol; see crops.passes.
      devices: devices that share the images of every call.
      classes: K.
      batch_size: images of the source's size in one call, on all devices together; fewer of a larger size.

    Raises:
      Miscounted: an image was not evaluated exactly once in each pass of the protocol.
      UserError: an image cannot be read.
    """
    tallies = {pass_: Tally("test", len(source)) for pass_ in passes}
    total = np.zeros((len(source), classes), np.float64)

    def own(batch: PassBatch) -> npt.NDArray[np.int64]:
        return batch.index[devices.rows(len(batch.index))]

    todo = batches(source, passes, batch_size, devices.count)
    for batch in announced(todo, lambda batch: source.begin(own(batch), None, batch.pass_), AHEAD):
        processes.report("the evaluation on test")
        seen = source.views(own(batch), batch.pass_)  # [B, V, H, W, C], or this process's part of B
        found = predict(seen.reshape(-1, *seen.shape[2:])).reshape(len(batch.index), seen.shape[1], classes)
        total[batch.index[: batch.count]] += found[: batch.count].mean(axis=1) / len(passes)
        weight = np.arange(len(batch.index)) < batch.count
        tallies[batch.pass_].add(batch.index.astype(np.int32), weight.astype(np.float32))
    for tally in tallies.values():
        tally.check(Totals(examples=len(source)))
    return total


def score(found: Floats, labels: Labels) -> Totals:
    """Loss and error of probabilities [N, K]; the loss is that of the mean probabilities, labels are [N]."""
    own = found[np.arange(len(labels)), labels]
    wrong = int((found.argmax(axis=1) != labels).sum())
    return Totals(float(-np.log(np.maximum(own, np.finfo(np.float64).tiny)).sum()), wrong, len(labels))
