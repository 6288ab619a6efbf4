"""The headers of all images of a streamed set, read once before the first step and kept for the next start.

So a file that is no image stops a run before it has begun, and the size of every image is known without decoding it.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from resnet_jax.data import cache, decode, progress, threads
from resnet_jax.files import write_atomically
from resnet_jax.text import Note

Array = npt.NDArray[Any]


class Entry(NamedTuple):
    """What is known of an image once its header has been read."""

    header: decode.Header
    label: int = -1
    """Its class, where that is stored with the image; -1: the listing has it."""
    checksum: int = 0
    """CRC-32 of the encoded image, where it was read whole; else 0."""


@dataclass(frozen=True)
class Headers:
    """What the files say of their images, in the order of the listing."""

    sizes: npt.NDArray[np.int32]
    """[N, 2]: width and height in pixels, upright; zeros where the image cannot be read."""
    grey: npt.NDArray[np.bool_]
    """[N]: whether an image is grey; False where it cannot be read."""
    labels: npt.NDArray[np.int32]
    """[N]: see Entry; -1 where the image cannot be read."""
    checksums: npt.NDArray[np.uint32]
    """[N]: see Entry; 0 where the image cannot be read."""
    unreadable: dict[int, str]
    """The images that cannot be read, by position, with the reasons."""


def read(
    read_one: Callable[[int], Entry],
    count: int,
    *,
    name: str,
    key: str,
    note: Note,
) -> Headers:
    """The headers of `count` images, from the file that keeps them if they are the same images still.

    Args:
      read_one: gives the entry of an image, by position, or raises decode.Unreadable.
      count: number of images.
      name: of the data, for the file's name and for people.
      key: hexadecimal digest of all that the headers depend on.
      note: receives remarks, a line at a time.
    """
    file = _file(name, key)
    found = _kept(file, key, count)
    if found is None:
        found = _read(read_one, count, name, note)
        _keep(file, key, found, note)
    return found


def _read(read_one: Callable[[int], Entry], count: int, name: str, note: Note) -> Headers:
    def work(i: int) -> Entry | decode.Unreadable:
        try:
            return read_one(i)
        except decode.Unreadable as reason:
            return reason

    sizes, grey = np.zeros((count, 2), np.int32), np.zeros(count, np.bool_)
    labels, checksums = np.full(count, -1, np.int32), np.zeros(count, np.uint32)
    unreadable: dict[int, str] = {}
    title = f"reading the headers of {name}"
    with (
        decode.quiet(),
        progress.progress([title], count, f"{title}: {count:,} images.", note) as advance,
        closing(threads.in_order(work, count, advance)) as entries,
    ):
        for i, entry in enumerate(entries):
            if isinstance(entry, decode.Unreadable):
                unreadable[i] = str(entry)
            else:
                sizes[i] = entry.header.width, entry.header.height
                grey[i], labels[i], checksums[i] = entry.header.grey, entry.label, entry.checksum
    return Headers(sizes, grey, labels, checksums, unreadable)


def _file(name: str, key: str) -> Path | None:
    try:
        home = cache.home()
    except OSError:
        return None
    return home / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:64]}-headers-{key[:16]}.npz"


def _kept(file: Path | None, key: str, count: int) -> Headers | None:
    if file is None:
        return None
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            sizes, grey, labels, checksums = (kept[name] for name in ("sizes", "grey", "labels", "checksums"))
            shapes = {grey.shape, labels.shape, checksums.shape}
            if str(kept["key"]) != key or sizes.shape != (count, 2) or shapes != {(count,)}:
                return None
            reasons = zip(kept["unreadable"].tolist(), kept["reasons"].tolist(), strict=True)
            return Headers(
                sizes.astype(np.int32),
                grey.astype(np.bool_),
                labels.astype(np.int32),
                checksums.astype(np.uint32),
                dict(reasons),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or damaged: read again
        return None


def _keep(file: Path | None, key: str, found: Headers, note: Note) -> None:
    if file is None:
        return
    arrays: dict[str, Array] = {
        "key": np.array(key),
        "sizes": found.sizes,
        "grey": found.grey,
        "labels": found.labels,
        "checksums": found.checksums,
        "unreadable": np.array(list(found.unreadable), np.int64),
        "reasons": np.array(list(found.unreadable.values()), np.str_),
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # its stub takes no **
        write_atomically(file, content.getvalue())
    except OSError as error:
        note(
            f"the headers cannot be kept in {file.parent} ({error.strerror or error}); the next start reads them again."
        )


def digest(*parts: str) -> str:
    """A key for `read`: SHA-256 over the parts and the rules of decoding, hexadecimal."""
    return hashlib.sha256("\0".join((cache.decoding(), *parts)).encode()).hexdigest()
