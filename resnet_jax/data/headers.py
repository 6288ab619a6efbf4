"""Reads the headers of all images of a data set before the first step, and keeps them in the cache for later runs.

So a file that is not an image is found before training begins, and the size of every image is known without decoding
it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from resnet_jax.data import cache, decode, progress, threads
from resnet_jax.text import Note


class Entry(NamedTuple):
    """The header of an image, and its label if the label is stored with the image."""

    header: decode.Header
    label: int = -1
    """The number of the class; -1: the listing of the files gives it."""
    checksum: int = 0
    """CRC-32 of the encoded image, if the whole image was read; otherwise 0."""


@dataclass(frozen=True)
class Headers:
    """The headers of N images. All arrays are indexed by the position of the image."""

    sizes: npt.NDArray[np.int32]
    """[N, 2]: width and height of the upright image in pixels; zeros if it cannot be read."""
    grey: npt.NDArray[np.bool_]
    """[N]: whether the image is grey; False if it cannot be read."""
    labels: npt.NDArray[np.int32]
    """[N]: `Entry.label`; -1 if the image cannot be read."""
    checksums: npt.NDArray[np.uint32]
    """[N]: `Entry.checksum`; 0 if the image cannot be read."""
    unreadable: dict[int, str]
    """{position: reason} of the images that cannot be read."""

    @classmethod
    def unknown(cls, count: int) -> Headers:
        """The headers of `count` images before any is read: all sizes and checksums are 0, all labels are -1."""
        zeros = np.zeros(count, np.uint32)
        return cls(np.zeros((count, 2), np.int32), zeros > 0, np.full(count, -1, np.int32), zeros, {})


def read(
    read_one: Callable[[int], Entry],
    count: int,
    *,
    name: str,
    key: str | None,
    note: Note,
    refuse: Callable[[int, decode.Unreadable], Any] = lambda position, reason: None,
) -> Headers:
    """Returns the headers of `count` images. Headers from the cache are not read again.

    Args:
      read_one: returns the entry of the image at a position, or raises decode.Unreadable.
      count: number of images.
      name: name of the data set, for the name of the cache file and for messages.
      key: the key of the cache (cache.key), made from everything that the headers depend on; None: no cache.
      note: called with each remark, one line of text.
      refuse: called with the position of each image that cannot be read, and the reason. It may raise an exception.
    """
    file = cache.file(name, "headers", key) if key else None
    kept = cache.read(file, key, note) if key else None
    found = Headers.unknown(count)
    if kept is not None:
        bad = dict(zip(kept.pop("unreadable").tolist(), kept.pop("reasons").tolist(), strict=True))
        found = Headers(**kept, unreadable=bad)
        for position, reason in bad.items():
            refuse(position, decode.Unreadable(reason))
    # Images that could not be read for a temporary reason are not in the cache.
    todo = [i for i in np.flatnonzero(found.sizes[:, 0] == 0).tolist() if i not in found.unreadable]
    passing = _read(found, todo, read_one, name, note, refuse) if todo else set()
    if todo and key:
        bad = {i: reason for i, reason in found.unreadable.items() if i not in passing}
        arrays = {field: getattr(found, field) for field in ("sizes", "grey", "labels", "checksums")}
        arrays["unreadable"] = np.array(list(bad), np.int64)
        cache.write(file, key, {**arrays, "reasons": np.array(list(bad.values()), np.str_)}, note)
    return found


def _read(
    found: Headers,
    todo: list[int],
    read_one: Callable[[int], Entry],
    name: str,
    note: Note,
    refuse: Callable[[int, decode.Unreadable], Any],
) -> set[int]:
    # Reads headers into `found`; returns the positions with a temporary error.
    def work(number: int) -> Entry | decode.Unreadable:
        try:
            return read_one(todo[number])
        except decode.Unreadable as reason:
            return reason

    passing: set[int] = set()
    with (
        decode.quiet(),
        progress.progress(f"reading the headers of {name}", len(todo), note) as advance,
        closing(threads.in_order(work, len(todo), advance)) as entries,
    ):
        for i, entry in zip(todo, entries, strict=True):
            if isinstance(entry, decode.Unreadable):
                refuse(i, entry)
                found.unreadable[i] = str(entry)
                passing |= {i} if entry.passing else set()
            else:
                found.sizes[i] = entry.header.width, entry.header.height
                found.grey[i], found.labels[i], found.checksums[i] = entry.header.grey, entry.label, entry.checksum
    return passing
