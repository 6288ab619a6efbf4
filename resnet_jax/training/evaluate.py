"""Evaluation by the papers' protocols, such as ten crops: mean probabilities of each image, their loss and error."""

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
# Number of batches that are prepared ahead; must be below stream.SLOTS.
AHEAD = 1


class Predictor:
    """A net in eval mode on the devices, compiled once for each shape of images."""

    def __init__(self, devices: Devices, model: ResNet, normalization: Normalization, precision: str) -> None:
        """Stores the net, which the first call compiles.

        Args:
          devices: the devices that share each batch of images.
          model: the net.
          normalization: the mean and standard deviation of the images. If the mean is an image and has another size
            than the images, its mean over all pixels is used.
          precision: the precision of matrix products, as in `ModelConfig.precision`.
        """
        self.devices, self._model, self._normalization, self._precision = devices, model, normalization, precision
        self._compiled: dict[tuple[int, ...], jax.stages.Compiled] = {}  # by the images' shape

    def __call__(self, variables: Variables, images: Images) -> Floats:
        """The probabilities of K classes for N images, [N, K]: the mean over each image and its mirror image.

        Args:
          variables: {"params": ..., "batch_stats": ...}, from `Devices.replicate_state`.
          images: [n, H, W, C] uint8, the rows of this process (`Devices.rows`) among the N images. With one process, n
            is N. N is a multiple of the number of devices.
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
    """The mean probabilities [N, K] of the N images of a source over all passes of a protocol.

    Args:
      predict: returns the probabilities of a batch of images of one shape, such as a Predictor with its variables. The
        argument [n, H, W, C] has the images of this process (`Devices.rows`). The result has one row for each image of
        all processes. All batches of one image shape have the same number of images.
      source: the streamed images.
      passes: the passes of the protocol, from crops.passes.
      devices: the devices that share each batch.
      classes: the number K of classes.
      batch_size: number of images in a batch, over all devices, for images of the size `source.shape`. With larger
        images, or with several crops of each image, a batch has fewer images.

    Raises:
      Miscounted: a pass did not use every image exactly once.
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
    """The summed loss, in nats, and the number of errors of N images with mean probabilities [N, K] and labels [N]."""
    own = found[np.arange(len(labels)), labels]
    wrong = int((found.argmax(axis=1) != labels).sum())
    return Totals(float(-np.log(np.maximum(own, np.finfo(np.float64).tiny)).sum()), wrong, len(labels))
