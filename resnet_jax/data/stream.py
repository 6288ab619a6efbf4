"""A source without pixels in memory: images are read, decoded and cropped when they are asked for.

Threads do it, for Pillow decodes and resizes outside Python's lock. What will be asked for next can be announced, and
is then made while the devices compute; a bounded number of batches lies ahead, so memory stays flat.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

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
        """What a person would call the image: its path."""

    def fingerprint(self, digest: Digest, positions: Positions) -> None:
        """Adds to a digest what tells the images at these positions from others, as far as a listing tells."""


class Decoders:
    """The threads that make a run's images, and the time that the run has waited for them."""

    def __init__(self, config: DataConfig) -> None:
        self.workers = threads.cores() if config.workers == "auto" else config.workers
        self.pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        self.waited_s = 0.0


@dataclass(frozen=True)
class _Request:
    """What is asked for: equal requests give equal images."""

    index: bytes
    draws: tuple[int, bytes] | None
    look: Pass


@dataclass(frozen=True)
class _Slot:
    """A batch under way: its images are complete when its tasks are done."""

    request: _Request
    images: Images
    tasks: list[Future[None]]

    def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()


class StreamSource:
    """A source whose images lie on a disk, encoded. See `dataset.Source`."""

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
        """Takes some of the images of `records`.

        Args:
          records: the encoded images.
          positions: [N], those of this source, in its order.
          labels: [N] int32.
          sizes: [N, 2], width and height of each image in pixels, upright.
          config: which crops are taken; `image_size` is set.
          channels: 1 where the images of the data set are grey, else 3.
          decoders: shared by the sources of a data set.
        """
        assert config.image_size is not None
        assert len(positions) == len(labels) == len(sizes)
        self._records, self._positions, self._sizes = records, np.asarray(positions), sizes
        self._labels, self._config, self._channels, self._decoders = labels, config, channels, decoders
        self._centre = Pass(config.eval_resize, config.image_size)
        self._slots: deque[_Slot] = deque()

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
        """What a person would call one of the images: its path."""
        return self._records.name(int(self._positions[index]))

    @property
    def waited_s(self) -> float:
        """Seconds for which `take` and `views` have waited for images of this data set."""
        return self._decoders.waited_s

    @property
    def place(self) -> str:
        """For people: where the images are."""
        return f"on the disk, decoded by {self._decoders.workers} threads"

    def take(self, index: Positions, draws: Draws | None = None) -> Images:
        """See Source.

        Raises:
          UserError: an image cannot be read, or has changed since it was listed; the message has its path.
        """
        return self._finish(self._request(index, draws, None), index, draws)[:, 0]

    def views(self, index: Positions, look: Pass) -> Images:
        """What a pass of an evaluation protocol sees of some images: [B, V, H, W, C] uint8.

        Without a crop the images must all have the same `view_shapes`.

        Raises:
          UserError: as `take`.
        """
        return self._finish(self._request(index, None, look), index, None)

    def begin(self, index: Positions, draws: Draws | None = None, look: Pass | None = None) -> None:
        """Starts to make images that `take`, or `views` where a pass is given, will ask for with the same arguments.

        At most SLOTS calls are under way; the oldest is dropped for a new one.
        """
        request = self._request(index, draws, look)
        if all(slot.request != request for slot in self._slots):
            if len(self._slots) == SLOTS:
                self._slots.popleft().cancel()
            self._slots.append(self._start(request, index, draws))

    def view_shapes(self, look: Pass) -> npt.NDArray[np.int32]:
        """Width and height of every image as a pass without a crop shows it: [N, 2]."""
        multiple = self._config.eval_multiple
        found = [crops.whole(width, height, look, multiple) for width, height in self._sizes.tolist()]
        return np.array(found, np.int32).reshape(-1, 2)

    def part(self, index: Positions) -> StreamSource:
        """See Source."""
        return StreamSource(
            self._records,
            self._positions[index],
            self._labels[index],
            self._sizes[index],
            config=self._config,
            channels=self._channels,
            decoders=self._decoders,
        )

    @property
    def state(self) -> str:
        """A digest of which images these are and of what the file system says of their files: see Records.

        Unlike the fingerprint it tells a copy from the original, and a file from another of equal name and size.
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
        drawn = draws is not None and self._config.crop != "center"
        return _Request(
            np.asarray(index, np.int64).tobytes(),
            (draws.seed, np.asarray(draws.epoch, np.int64).tobytes()) if drawn and draws is not None else None,
            look or self._centre,
        )

    def _finish(self, request: _Request, index: Positions, draws: Draws | None) -> Images:
        found = next((slot for slot in self._slots if slot.request == request), None)
        if found is None:
            found = self._start(request, index, draws)
        else:
            while (slot := self._slots.popleft()) is not found:
                slot.cancel()  # begun for a batch that was never asked for
        began = time.monotonic()
        try:
            for task in found.tasks:
                task.result()
        finally:
            found.cancel()
            self._decoders.waited_s += time.monotonic() - began
        return found.images

    def _start(self, request: _Request, index: Positions, draws: Draws | None) -> _Slot:
        rows: list[int] = np.asarray(index).tolist()
        epochs: Sequence[int] = [] if draws is None or request.draws is None else np.asarray(draws.epoch).tolist()
        # A new array each time: a step may still read the last one, which JAX need not have copied.
        images = np.empty((len(rows), *self._view_shape(rows[0], request.look)), np.uint8)

        def work(start: int) -> None:
            for row in range(start, min(start + TASK, len(rows))):
                if draws is not None and request.draws is not None:
                    images[row, 0] = self._cropped(rows[row], draws.seed, epochs[row])
                else:
                    images[row] = self._seen(rows[row], request.look)

        tasks = [self._decoders.pool.submit(work, start) for start in range(0, len(rows), TASK)]
        return _Slot(request, images, tasks)

    def _view_shape(self, index: int, look: Pass) -> tuple[int, int, int, int]:
        if look.crop is not None:
            return 5 if look.corners else 1, look.crop, look.crop, self._channels
        stored = self._sizes[index].tolist()
        width, height = crops.whole(stored[0], stored[1], look, self._config.eval_multiple)
        return 1, height, width, self._channels

    def _cropped(self, index: int, seed: int, epoch: int) -> Images:
        def choose(width: int, height: int) -> crops.Crop:
            self._require_size(index, width, height)
            return crops.training_crop(self._config, seed, epoch, index, width, height)

        position = int(self._positions[index])
        try:
            return decode.crop(self._records.content(position), choose, channels=self._channels)
        except decode.Unreadable as reason:
            raise self._stopped(position, reason) from None

    def _seen(self, index: int, look: Pass) -> Images:
        position = int(self._positions[index])
        try:
            content = self._records.content(position)
            seen = decode.look(content, look, channels=self._channels, multiple=self._config.eval_multiple)
            if seen.shape != self._view_shape(index, look):
                raise decode.Unreadable("its size has changed since it was listed")
            return seen
        except decode.Unreadable as reason:
            raise self._stopped(position, reason) from None

    def _require_size(self, index: int, width: int, height: int) -> None:
        listed = tuple(self._sizes[index].tolist())
        if (width, height) != listed:
            raise decode.Unreadable(f"it is {width}x{height} pixels, and was {listed[0]}x{listed[1]} when listed")

    def _stopped(self, position: int, reason: decode.Unreadable) -> UserError:
        return UserError(
            f"{self._records.name(position)} cannot be read as an image: {reason}; the run stops, because leaving the "
            "image out would change its data. Put the image back as it was, and the same command goes on; if it was "
            "damaged from the start, remove it and begin a new run."
        )


def sources(
    records: Records, parts: Sequence[Positions], labels: Labels, heads: Headers, config: DataConfig, channels: int
) -> list[StreamSource]:
    """Sources of some of the images of `records`, which share their threads.

    Args:
      records: the encoded images, N of them.
      parts: the positions of each source's images, in its order.
      labels: [N] int32.
      heads: what is known of the images.
      config, channels: see StreamSource.
    """
    decoders = Decoders(config)
    return [
        StreamSource(
            records, part, labels[part], heads.sizes[part], config=config, channels=channels, decoders=decoders
        )
        for part in parts
    ]
