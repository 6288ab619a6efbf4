"""The headers of all images of a data set, read once before the first step and kept for the next start.

So a file that is no image stops a run before it has begun, and the size of every image is known without decoding it.
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
    """The header of an image."""

    header: decode.Header
    label: int = -1
    """The class, if it is stored with the image; -1: it is in the listing."""
    checksum: int = 0
    """CRC-32 of the encoded image, if it was read as a whole; otherwise 0."""


@dataclass(frozen=True)
class Headers:
    """The headers of all images, in the order of the listing."""

    sizes: npt.NDArray[np.int32]
    """[N, 2]: width and height of the upright image in pixels; zeros if it cannot be read."""
    grey: npt.NDArray[np.bool_]
    """[N]: whether an image is grey; False if it cannot be read."""
    labels: npt.NDArray[np.int32]
    """[N]: see Entry; -1 if the image cannot be read."""
    checksums: npt.NDArray[np.uint32]
    """[N]: see Entry; 0 if the image cannot be read."""
    unreadable: dict[int, str]
    """The images that cannot be read, by position, with the reasons."""

    @classmethod
    def unknown(cls, count: int) -> Headers:
        """The headers of `count` images before any is read."""
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
    """The headers of `count` images; those that are kept from an earlier start are not read again.

    Args:
      read_one: returns the entry of an image, by position, or raises decode.Unreadable.
      count: number of images.
      name: the name of the data, for the file name and for messages.
      key: from cache.key, of all that the headers depend on; None: they are not kept.
      note: receives remarks, a line at a time.
      refuse: is given the position of an image that cannot be read, and the reason; it may raise, which ends the work.
    """
    file = cache.file(name, "headers", key) if key else None
    kept = cache.read(file, key, note) if key else None
    found = Headers.unknown(count)
    if kept is not None:
        bad = dict(zip(kept.pop("unreadable").tolist(), kept.pop("reasons").tolist(), strict=True))
        found = Headers(**kept, unreadable=bad)
        for position, reason in bad.items():
            refuse(position, decode.Unreadable(reason))
    # What failed for a reason that may pass was not kept.
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
    """Reads some headers into their places; gives the positions of those that failed for a reason that may pass."""

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
