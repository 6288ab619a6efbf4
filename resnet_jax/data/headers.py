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
from typing import Any

import numpy as np
import numpy.typing as npt

from resnet_jax.data import cache, decode, progress, threads
from resnet_jax.files import write_atomically

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Headers:
    """What the files say of their images, in the order of the listing."""

    sizes: npt.NDArray[np.int32]
    """[N, 2]: width and height in pixels, upright; zeros where the image cannot be read."""
    grey: bool
    """Whether every image that can be read is grey."""
    unreadable: dict[int, str]
    """The images that cannot be read, by position, with the reasons."""


def read(
    read_one: Callable[[int], decode.Header],
    count: int,
    *,
    name: str,
    key: str,
    tell: Callable[[str], None],
) -> Headers:
    """The headers of `count` images, from the file that keeps them if they are the same images still.

    Args:
      read_one: gives the header of an image, by position, or raises decode.Unreadable.
      count: number of images.
      name: of the data, for the file's name and for people.
      key: hexadecimal digest of all that the headers depend on.
      tell: receives remarks, a line at a time.
    """
    file = _file(name, key)
    found = _kept(file, key, count)
    if found is None:
        found = _read(read_one, count, name, tell)
        _keep(file, key, found, tell)
    return found


def _read(read_one: Callable[[int], decode.Header], count: int, name: str, tell: Callable[[str], None]) -> Headers:
    def work(i: int) -> decode.Header | decode.Unreadable:
        try:
            return read_one(i)
        except decode.Unreadable as reason:
            return reason

    sizes, grey = np.zeros((count, 2), np.int32), True
    unreadable: dict[int, str] = {}
    title = f"reading the headers of {name}"
    with (
        decode.quiet(),
        progress.progress([title], count, f"{title}: {count:,} images.", tell) as advance,
        closing(threads.in_order(work, count, advance)) as heads,
    ):
        for i, head in enumerate(heads):
            if isinstance(head, decode.Unreadable):
                unreadable[i] = str(head)
            else:
                sizes[i] = head.width, head.height
                grey = grey and head.grey
    return Headers(sizes, grey, unreadable)


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
            if str(kept["key"]) != key or kept["sizes"].shape != (count, 2):
                return None
            reasons = zip(kept["unreadable"].tolist(), kept["reasons"].tolist(), strict=True)
            return Headers(kept["sizes"].astype(np.int32), bool(kept["grey"]), dict(reasons))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or damaged: read again
        return None


def _keep(file: Path | None, key: str, found: Headers, tell: Callable[[str], None]) -> None:
    if file is None:
        return
    arrays: dict[str, Array] = {
        "key": np.array(key),
        "sizes": found.sizes,
        "grey": np.array(found.grey),
        "unreadable": np.array(list(found.unreadable), np.int64),
        "reasons": np.array(list(found.unreadable.values()), np.str_),
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # its stub takes no **
        write_atomically(file, content.getvalue())
    except OSError as error:
        tell(
            f"the headers cannot be kept in {file.parent} ({error.strerror or error}); the next start reads them again."
        )


def digest(*parts: str) -> str:
    """A key for `read`: SHA-256 over the parts and the rules of decoding, hexadecimal."""
    return hashlib.sha256("\0".join((cache.decoding(), *parts)).encode()).hexdigest()
