"""The input of compiled steps: gathered on the device from all images, or sent from the host batch by batch.

Both ways give the same arrays, so the choice changes no result. The host dispatches steps without waiting for the
devices, so a batch is gathered and sent while earlier steps compute.
"""

import math
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from resnet_jax.config import DataConfig
from resnet_jax.data import Dataset, Draws, Source, memory
from resnet_jax.data.dataset import all_images
from resnet_jax.data.order import Batch, Index
from resnet_jax.data.stream import StreamSource
from resnet_jax.training import processes
from resnet_jax.training.mesh import Devices
from resnet_jax.training.step import EvalBatch, TrainBatch
from resnet_jax.types import Tree

# The share of a device's memory that images may take.
DEVICE_SHARE = 0.5


class Feed(Protocol):
    """Provides the images and labels of compiled steps."""

    place: str
    """For messages: where the images are, and their size, such as "on the device, 0.3 GB"."""
    fixed: tuple[Tree, ...]
    """Arguments of a compiled step that are the same in every call, on the devices."""

    def train(self, batch: Batch) -> Tree:
        """The input of a train step, on the host. `batch` has arrays [B], or [K, B] for K steps in one dispatch."""

    def evaluate(self, split: str, index: Index, weight: Any) -> Tree:
        """The input of an eval step, on the host.

        Args:
          split: name of the split, such as "test".
          index: positions of the examples in the split, [B].
          weight: weights of the examples, [B]: 1, or 0 for an example that pads the batch.
        """

    def begin_train(self, batch: Batch) -> None:
        """Announces a call of `train`, so that its images are decoded in the background."""

    def begin_evaluate(self, split: str, index: Index) -> None:
        """Announces a call of `evaluate`, so that its images are decoded in the background."""

    def train_batch(self, at: Tree, *fixed: Tree) -> TrainBatch:
        """Makes the batch inside a compiled step.

        `at` is a result of `train`, on the devices. `fixed` has the values of `Feed.fixed`.
        """

    def eval_batch(self, at: Tree, *fixed: Tree) -> EvalBatch:
        """Makes the batch inside a compiled step, as `train_batch` does, from a result of `evaluate`."""


class Resident(NamedTuple):
    """Images [N, H, W, C] uint8 and labels [N] int32 of all splits, concatenated; the training set comes first."""

    images: Any
    labels: Any


class _TrainIndex(NamedTuple):
    """Epochs and positions of the examples of a train step, each [B] int32."""

    epoch: Any
    example: Any


class _EvalIndex(NamedTuple):
    """Positions of the examples of an eval step in `Resident`, and their weights, each [B]."""

    example: Any
    weight: Any


class OnDevice:
    """A feed that keeps all images on every device; a step gathers its images by position."""

    def __init__(self, dataset: Dataset, devices: Devices) -> None:
        sources = dataset.sources
        sizes = np.cumsum([0, *map(len, sources.values())])
        self._offsets = {name: np.int32(start) for name, start in zip(sources, sizes[:-1], strict=True)}
        images = np.empty((sizes[-1], *dataset.image_shape), np.uint8)
        start = 0
        for source in sources.values():
            for piece in all_images(source):
                images[start : start + len(piece)] = piece
                start += len(piece)
        labels = np.concatenate([source.labels for source in sources.values()])
        self.fixed: tuple[Tree, ...] = (devices.replicate(Resident(images, labels)),)
        self.place = f"on the device, {memory.gigabytes(images.nbytes)}"

    def train(self, batch: Batch) -> Tree:
        return _TrainIndex(batch.epoch, batch.index)

    def evaluate(self, split: str, index: Index, weight: Any) -> Tree:
        return _EvalIndex(index + self._offsets[split], weight)

    def begin_train(self, batch: Batch) -> None:
        pass  # the images are on the device already

    def begin_evaluate(self, split: str, index: Index) -> None:
        pass

    def train_batch(self, at: Tree, *fixed: Tree) -> TrainBatch:
        (resident,) = fixed  # the training set comes first, so its positions need no offset
        return TrainBatch(resident.images[at.example], resident.labels[at.example], at.epoch, at.example)

    def eval_batch(self, at: Tree, *fixed: Tree) -> EvalBatch:
        (resident,) = fixed
        return EvalBatch(resident.images[at.example], resident.labels[at.example], at.weight)


class FromHost:
    """A feed that keeps the images on the host or its disk, and sends each step the images of its batch."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self._sources, self._seed = dataset.sources, seed
        self.fixed: tuple[Tree, ...] = ()
        train = dataset.train
        where = train.place if isinstance(train, StreamSource) else f"on the host, {memory.gigabytes(_size(train))}"
        self.place = f"{where}, sent in batches"

    def begin_train(self, batch: Batch) -> None:
        self._sources["train"].begin(batch.index, Draws(self._seed, batch.epoch))

    def begin_evaluate(self, split: str, index: Index) -> None:
        self._sources[split].begin(index)

    def train(self, batch: Batch) -> Tree:
        train = self._sources["train"]
        if batch.index.ndim == 1:
            images = train.take(batch.index, Draws(self._seed, batch.epoch))
        else:  # the images of several steps
            each = zip(batch.index, batch.epoch, strict=True)
            images = np.stack([train.take(index, Draws(self._seed, epoch)) for index, epoch in each])
        return TrainBatch(images, train.labels[batch.index], batch.epoch, batch.index)

    def evaluate(self, split: str, index: Index, weight: Any) -> Tree:
        source = self._sources[split]
        return EvalBatch(source.take(index), source.labels[index], weight)

    def train_batch(self, at: Tree, *fixed: Tree) -> TrainBatch:
        batch: TrainBatch = at
        return batch

    def eval_batch(self, at: Tree, *fixed: Tree) -> EvalBatch:
        batch: EvalBatch = at
        return batch


def feed(config: DataConfig, dataset: Dataset, devices: Devices, seed: int) -> Feed:
    """Makes the feed for `config.placement`.

    | `config.placement`   | images                                                                         |
    |----------------------|--------------------------------------------------------------------------------|
    | "device"             | kept on the device                                                             |
    | "auto"               | kept on the device if they need at most half of its memory, else sent by batch |
    | "host"               | sent from the host batch by batch                                              |
    | any, streamed images | sent from the host batch by batch                                              |
    """
    if config.placement == "host" or config.streamed:
        return FromHost(dataset, seed)
    size = sum(map(_size, dataset.sources.values()))
    if config.placement == "auto" and processes.on_primary(lambda: size > DEVICE_SHARE * _memory(devices.first)):
        return FromHost(dataset, seed)
    return OnDevice(dataset, devices)


def _size(source: Source) -> int:
    """Bytes of all images of a source."""
    return math.prod((len(source), *source.shape))


def _memory(device: jax.Device) -> float:
    """Memory of a device in bytes. For a CPU it is the free memory of the machine. Infinite if unknown."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    free = memory.available()
    return float("inf") if free is None else float(free)
