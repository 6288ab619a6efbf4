"""The image files of a folder for a streamed source: read by position, with a check that they have not changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np

from resnet_jax.data import decode
from resnet_jax.data.dataset import Digest, Positions
from resnet_jax.data.headers import Entry
from resnet_jax.data.walk import ImageFile
from resnet_jax.text import reason, shown


class FileRecords:
    """The files of a listing, in 130 bytes plus the length of the name for each file."""

    def __init__(self, root: str, files: Sequence[ImageFile]) -> None:
        self._root = root
        self._names = [file.relative for file in files]
        self._sizes = np.array([file.size for file in files], np.int64)
        self._times = np.array([file.mtime_ns for file in files], np.int64)
        self.state = state(root, files)
        """See Records."""

    def path(self, position: int) -> str:
        """The file's path."""
        return os.path.join(self._root, self._names[position])

    def name(self, position: int) -> str:
        """See Records."""
        return shown(self.path(position))

    def entry(self, position: int) -> Entry:
        """Size and mode of the image; the label is in the listing.

        Raises:
          decode.Unreadable: it is missing, empty, not an image, or damaged.
        """
        return Entry(decode.header(self.path(position)))

    def content(self, position: int) -> bytes:
        """See Records."""
        try:
            with open(self.path(position), "rb") as file:
                status = os.fstat(file.fileno())
                content = file.read()
        except OSError as error:
            raise decode.Unreadable(f"{reason(error)}, and it could be read before", passing=True) from None
        if (status.st_size, status.st_mtime_ns) != (self._sizes[position], self._times[position]):
            raise decode.Unreadable("the file has changed since the run began")
        return content

    def fingerprint(self, digest: Digest, positions: Positions) -> None:
        """Adds path below the root and size in bytes of each file."""
        for position in positions.tolist():
            digest.update(os.fsencode(self._names[position]) + f"\0{self._sizes[position]}\n".encode())


def state(root: str, files: Iterable[ImageFile]) -> str:
    """SHA-256, hexadecimal, over the folder's real path and what the file system says of its files.

    Names, sizes and modification times are not enough: archives give all their files one time, and copies keep it. So
    the inode is in it too, which sees folders or files that swapped names, and the time of the inode's change, which
    sees a file rewritten in place whatever modification time it was given. The price: a folder that was copied, moved
    to another disk, or had its owner or permissions changed is read again though its pixels are the same.
    """
    digest = hashlib.sha256(os.fsencode(os.path.realpath(root)))
    for file in files:
        told = f"\0{file.size}\0{file.mtime_ns}\0{file.ctime_ns}\0{file.inode}\n"
        digest.update(os.fsencode(file.relative) + told.encode())
    return digest.hexdigest()
