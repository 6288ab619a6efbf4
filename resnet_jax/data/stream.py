"""A source without pixels in memory: images are read, decoded and cropped when they are asked for.

Threads do it, for Pillow decodes and resizes outside Python's lock. What will be asked for next can be announced, and
is then made while the devices compute; a bounded number of batches lies ahead, so memory stays flat.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from resnet_jax.config import DataConfig
from resnet_jax.data import crops, decode, threads
from resnet_jax.data.crops import Pass
from resnet_jax.data.dataset import Digest, Draws, Images, Labels, Positions
from resnet_jax.data.headers import Headers
from resnet_jax.errors import UserError

# Batches that may be under way for one source. Each is as large as a batch of images: 39 MB for 256 of 224x224.
SLOTS = 4
# Images in one task of a thread.
TASK = 4


class Records(Protocol):
    """Encoded images on a disk, by position."""

    @property
    def state(self) -> str:
        """A digest, hexadecimal, of what the file system says of all the files: one that changes gives another."""

    def content(self, position: int) -> bytes:
        """The image's file, whole.

        Raises:
          decode.Unreadable: it is gone, or is no longer the file that was listed.
        """

    def name(self, position: int) -> str:
        """Name of the image in messages: its path."""

    def fingerprint(self, digest: Digest, positions: Positions) -> None:
        """Adds to a digest the facts in the listing that identify the images at these positions."""


class Decoders:
    """The threads that make a run's images, and the time that the run has waited for them."""

    def __init__(self, config: DataConfig) -> None:
        self.workers = threads.cores() if config.workers == "auto" else config.workers
        self.pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        self.waited_s = 0.0


class _Request(NamedTuple):
    """The request; equal requests give equal images."""

    indices: tuple[int, ...]
    draws: tuple[int, tuple[int, ...]] | None
    """The run's seed and the epoch of each image; None: the images as they are evaluated."""
    look: Pass


class _Slot(NamedTuple):
    """A batch under way: its images are complete when its tasks are done."""

    images: Images
    tasks: list[Future[None]]

    def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()


class StreamSource:
    """A source whose images lie on a disk, encoded. See `dataset.Source`; `sources` makes them."""

    def __init__(
        self,
        records: Records,
        positions: Positions,
        labels: Labels,
        sizes: npt.NDArray[np.int32],
        *,
        config: DataConfig,
        channels: int,
        decoders: Decoders,
    ) -> None:
        assert config.image_size is not None
        assert len(positions) == len(labels) == len(sizes)
        self._records, self._positions, self._sizes = records, np.asarray(positions), sizes
        self._labels, self._config, self._channels, self._decoders = labels, config, channels, decoders
        self._centre = Pass(config.eval_resize, config.image_size)
        self._slots: dict[_Request, _Slot] = {}

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def shape(self) -> tuple[int, int, int]:
        """See Source."""
        assert self._config.image_size is not None
        return self._config.image_size, self._config.image_size, self._channels

    @property
    def labels(self) -> Labels:
        """See Source."""
        return self._labels

    def name(self, index: int) -> str:
        """Name of one of the images in messages: its path."""
        return self._records.name(int(self._positions[index]))

    @property
    def waited_s(self) -> float:
        """Seconds for which `take` and `views` have waited for images of this data set."""
        return self._decoders.waited_s

    @property
    def place(self) -> str:
        """Location of the images, for messages."""
        return f"on the disk, decoded by {self._decoders.workers} threads"

    def take(self, index: Positions, draws: Draws | None = None) -> Images:
        """See Source.

        Raises:
          UserError: an image cannot be read, or has changed since it was listed; the message has its path.
        """
        return self._finish(self._request(index, draws, None))[:, 0]

    def views(self, index: Positions, look: Pass) -> Images:
        """The views of some images in a pass of an evaluation protocol: [B, V, H, W, C] uint8.

        Without a crop the images must all have the same `view_shapes`.

        Raises:
          UserError: for the same reasons as `take`.
        """
        return self._finish(self._request(index, None, look))

    def begin(self, index: Positions, draws: Draws | None = None, look: Pass | None = None) -> None:
        """Starts to make images that `take`, or `views` where a pass is given, will ask for with the same arguments.

        At most SLOTS calls are under way; the oldest is dropped for a new one.
        """
        request = self._request(index, draws, look)
        if request not in self._slots:
            if len(self._slots) == SLOTS:
                self._slots.pop(next(iter(self._slots))).cancel()
            self._slots[request] = self._start(request)

    def view_shapes(self, look: Pass) -> npt.NDArray[np.int32]:
        """Width and height of every image as a pass without a crop shows it: [N, 2]."""
        multiple = self._config.eval_multiple
        found = [crops.whole(width, height, look, multiple) for width, height in self._sizes.tolist()]
        return np.array(found, np.int32).reshape(-1, 2)

    def part(self, index: Positions) -> StreamSource:
        """See Source."""
        some = copy.copy(self)
        some._positions, some._labels, some._sizes = self._positions[index], self._labels[index], self._sizes[index]
        some._slots = {}
        return some

    @property
    def state(self) -> str:
        """A digest of which images these are and of what the file system says of their files: see Records.

        Unlike the fingerprint, it differs between a copy and the original, and between files of equal name and size.
        """
        positions = np.ascontiguousarray(self._positions, np.int64).tobytes()
        return hashlib.sha256(self._records.state.encode() + positions).hexdigest()

    def fingerprint(self, digest: Digest) -> None:
        """Adds what the records know of each image, and its label.

        Files are not read for it, so this is weaker than the fingerprint of images in memory: it does not see a file
        whose content changed and whose name and size stayed.
        """
        digest.update(f"stream {self.shape}".encode())
        self._records.fingerprint(digest, self._positions)
        digest.update(np.ascontiguousarray(self._labels.astype("<i4")).data)

    def _request(self, index: Positions, draws: Draws | None, look: Pass | None) -> _Request:
        drawn = None
        if draws is not None and self._config.crop != "center":
            drawn = draws.seed, tuple(np.asarray(draws.epoch).tolist())
        return _Request(tuple(np.asarray(index).tolist()), drawn, look or self._centre)

    def _finish(self, request: _Request) -> Images:
        while request in self._slots and next(iter(self._slots)) != request:
            self._slots.pop(next(iter(self._slots))).cancel()  # begun for a batch that was never asked for
        slot = self._slots.pop(request, None) or self._start(request)
        began = time.monotonic()
        try:
            for task in slot.tasks:
                task.result()
        finally:
            slot.cancel()
            self._decoders.waited_s += time.monotonic() - began
        return slot.images

    def _start(self, request: _Request) -> _Slot:
        rows = request.indices
        # A new array each time: a step may still read the last one, which JAX need not have copied.
        images = np.empty((len(rows), *self._view_shape(rows[0], request.look)), np.uint8)

        def work(start: int) -> None:
            for row in range(start, min(start + TASK, len(rows))):
                images[row] = self._made(request, row, images.shape[1:])

        return _Slot(images, [self._decoders.pool.submit(work, start) for start in range(0, len(rows), TASK)])

    def _view_shape(self, index: int, look: Pass) -> tuple[int, int, int, int]:
        if look.crop is not None:
            return 5 if look.corners else 1, look.crop, look.crop, self._channels
        stored = self._sizes[index].tolist()
        width, height = crops.whole(stored[0], stored[1], look, self._config.eval_multiple)
        return 1, height, width, self._channels

    def _made(self, request: _Request, row: int, shape: tuple[int, ...]) -> Images:
        """One image of a batch, of the shape [V, height, width, channels]."""
        index, config = request.indices[row], self._config
        position, listed = int(self._positions[index]), tuple(self._sizes[index].tolist())

        def choose(width: int, height: int) -> crops.Crop:
            if (width, height) != listed:
                raise decode.Unreadable(f"it is {width}x{height} pixels, and was {listed[0]}x{listed[1]} when listed")
            assert request.draws is not None
            seed, epochs = request.draws
            return crops.training_crop(config, seed, epochs[row], index, width, height)

        try:
            content = self._records.content(position)
            if request.draws is not None:
                return decode.crop(content, choose, channels=self._channels)[None]
            seen = decode.look(content, request.look, channels=self._channels, multiple=config.eval_multiple)
            if seen.shape != shape:
                raise decode.Unreadable("its size has changed since it was listed")
            return seen
        except decode.Unreadable as reason:
            raise UserError(
                f"{self._records.name(position)} cannot be read as an image: {reason}; the run stops, because leaving "
                "the image out would change its data. Put the image back as it was, and the same command goes on; if "
                "it was damaged from the start, remove it and begin a new run."
            ) from None


def sources(
    records: Records, parts: Sequence[Positions], labels: Labels, heads: Headers, config: DataConfig, channels: int
) -> list[StreamSource]:
    """Sources of some of the images of `records`, which share their threads.

    Args:
      records: the encoded images, N of them.
      parts: the positions of each source's images, in its order.
      labels: [N] int32.
      heads: sizes and modes of the images.
      config: settings of the crops; `image_size` is set.
      channels: 1 if the images of the data set are grey, else 3.
    """
    decoders = Decoders(config)
    return [
        StreamSource(
            records, part, labels[part], heads.sizes[part], config=config, channels=channels, decoders=decoders
        )
        for part in parts
    ]
