"""A source that reads, decodes and crops images on demand, so that their pixels need not fit in memory.

Threads do the work in parallel, because Pillow releases Python's global lock while it decodes and resizes. The next
batches can be announced; they are then decoded while the devices compute. At most SLOTS batches are decoded ahead.
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

# Number of announced batches of a source that are kept in memory. A batch of 256 images of 224x224 pixels has 39 MB.
SLOTS = 4
# Number of images that a thread decodes in one task.
TASK = 4


class Records(Protocol):
    """The interface of a collection of encoded images on a disk, at positions from 0 on."""

    @property
    def state(self) -> str:
        """A hexadecimal digest of what the file system says about all files. It changes when a file changes."""

    def content(self, position: int) -> bytes:
        """Reads an encoded image.

        Raises:
          decode.Unreadable: the file is missing or damaged, or it has changed since it was listed.
        """

    def name(self, position: int) -> str:
        """The name of an image in messages, such as its path."""

    def fingerprint(self, digest: Digest, positions: Positions) -> None:
        """Adds data that identify the images at these positions to a digest, without reading the files."""


class Decoders:
    """The threads that decode the images of a run, and the seconds that the run has waited for them (`waited_s`)."""

    def __init__(self, config: DataConfig) -> None:
        self.workers = threads.cores() if config.workers == "auto" else config.workers
        self.pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        self.waited_s = 0.0


class _Request(NamedTuple):
    """Everything that determines the images of a batch."""

    indices: tuple[int, ...]
    draws: tuple[int, tuple[int, ...]] | None
    """The run's seed and the epoch of each image; None: images without random crops."""
    pass_: Pass


class _Slot(NamedTuple):
    """A batch that is being decoded. Its images are complete when all its tasks are done."""

    images: Images
    tasks: list[Future[None]]

    def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()


class StreamSource:
    """A source that decodes images on demand. It implements the interface `dataset.Source`; see `sources`."""

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
        """Height, width and channels of every image."""
        assert self._config.image_size is not None
        return self._config.image_size, self._config.image_size, self._channels

    @property
    def labels(self) -> Labels:
        """The class of every image, [N] int32."""
        return self._labels

    def name(self, index: int) -> str:
        """The name of an image in messages, such as its path."""
        return self._records.name(int(self._positions[index]))

    @property
    def waited_s(self) -> float:
        """Seconds that `take` and `views` have waited for images: the sum for the training set and the test set."""
        return self._decoders.waited_s

    @property
    def place(self) -> str:
        """Where the images are and how they are decoded, as text for messages."""
        return f"on the disk, decoded by {self._decoders.workers} threads"

    def take(self, index: Positions, draws: Draws | None = None) -> Images:
        """Returns the images at the positions `index` [B], as [B, H, W, C] uint8.

        They are cropped at random by `draws`, or at the centre if `draws` is None.

        Raises:
          UserError: an image cannot be read, or has changed since it was listed; the message has its path.
        """
        return self._finish(self._request(index, draws, None))[:, 0]

    def views(self, index: Positions, pass_: Pass) -> Images:
        """Returns the V crops of each image for a pass of an evaluation: [B, V, H, W, C] uint8.

        V is 5 with `Pass.corners`, otherwise 1. In a pass without crops, all images must have the same resized shape
        (`view_shapes`).

        Raises:
          UserError: an image cannot be read, or has changed since it was listed; the message has its path.
        """
        return self._finish(self._request(index, None, pass_))

    def begin(self, index: Positions, draws: Draws | None = None, pass_: Pass | None = None) -> None:
        """Starts to decode images for a later call of `take` (or of `views`, if `pass_` is given).

        The later call has the same arguments. At most SLOTS announced batches are kept; a new one replaces the oldest.
        """
        request = self._request(index, draws, pass_)
        if request not in self._slots:
            if len(self._slots) == SLOTS:
                self._slots.pop(next(iter(self._slots))).cancel()
            self._slots[request] = self._start(request)

    def view_shapes(self, pass_: Pass) -> npt.NDArray[np.int32]:
        """Width and height of every image after it is resized in a pass without crops: [N, 2] int32."""
        multiple = self._config.eval_multiple
        found = [crops.whole(width, height, pass_, multiple) for width, height in self._sizes.tolist()]
        return np.array(found, np.int32).reshape(-1, 2)

    def part(self, index: Positions) -> StreamSource:
        """Returns a source with the images at the positions `index` [B], in that order."""
        some = copy.copy(self)
        some._positions, some._labels, some._sizes = self._positions[index], self._labels[index], self._sizes[index]
        some._slots = {}
        return some

    @property
    def state(self) -> str:
        """A hexadecimal digest of the positions of the images and of what the file system says about the files.

        It changes when a file is replaced, even by a copy of the file or by another file of the same size.
        `fingerprint` may stay the same then.
        """
        positions = np.ascontiguousarray(self._positions, np.int64).tobytes()
        return hashlib.sha256(self._records.state.encode() + positions).hexdigest()

    def fingerprint(self, digest: Digest) -> None:
        """Adds the label of each image, and facts about it (`Records.fingerprint`), to a digest. Reads no file.

        For images in a folder, the facts are the path and the size of the file. So the fingerprint does not change if a
        file gets other content of the same size. The fingerprint of images in memory would change.
        """
        digest.update(f"stream {self.shape}".encode())
        self._records.fingerprint(digest, self._positions)
        digest.update(np.ascontiguousarray(self._labels.astype("<i4")).data)

    def _request(self, index: Positions, draws: Draws | None, pass_: Pass | None) -> _Request:
        drawn = None
        if draws is not None and self._config.crop != "center":
            drawn = draws.seed, tuple(np.asarray(draws.epoch).tolist())
        return _Request(tuple(np.asarray(index).tolist()), drawn, pass_ or self._centre)

    def _finish(self, request: _Request) -> Images:
        while request in self._slots and next(iter(self._slots)) != request:
            self._slots.pop(next(iter(self._slots))).cancel()  # this batch was announced, but not requested
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
        # A new array for each batch, because JAX may not have copied the previous one yet.
        images = np.empty((len(rows), *self._view_shape(rows[0], request.pass_)), np.uint8)

        def work(start: int) -> None:
            for row in range(start, min(start + TASK, len(rows))):
                images[row] = self._made(request, row, images.shape[1:])

        return _Slot(images, [self._decoders.pool.submit(work, start) for start in range(0, len(rows), TASK)])

    def _view_shape(self, index: int, pass_: Pass) -> tuple[int, int, int, int]:
        if pass_.crop is not None:
            return 5 if pass_.corners else 1, pass_.crop, pass_.crop, self._channels
        stored = self._sizes[index].tolist()
        width, height = crops.whole(stored[0], stored[1], pass_, self._config.eval_multiple)
        return 1, height, width, self._channels

    def _made(self, request: _Request, row: int, shape: tuple[int, ...]) -> Images:
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
            seen = decode.views(content, request.pass_, channels=self._channels, multiple=config.eval_multiple)
            if seen.shape != shape:
                raise decode.Unreadable("its size has changed since it was listed")
            return seen
        except decode.Unreadable as reason:
            raise UserError(
                f"{self._records.name(position)} cannot be read as an image: {reason}; the run stops, because a run "
                "must use the same images until its end. Restore the image, and run the same command again to resume; "
                "if the image was damaged from the start, remove it and begin a new run."
            ) from None


def sources(
    records: Records, parts: Sequence[Positions], labels: Labels, heads: Headers, config: DataConfig, channels: int
) -> list[StreamSource]:
    """Makes several sources from one collection of encoded images. They share one pool of threads.

    Args:
      records: N encoded images.
      parts: for each source, the positions of its images in `records`.
      labels: [N] int32, the classes of the images.
      heads: the headers of the images.
      config: the configuration of the data; `image_size` is not None.
      channels: number of channels of the decoded images: 1 (grey) or 3 (colour).
    """
    decoders = Decoders(config)
    return [
        StreamSource(
            records, part, labels[part], heads.sizes[part], config=config, channels=channels, decoders=decoders
        )
        for part in parts
    ]
