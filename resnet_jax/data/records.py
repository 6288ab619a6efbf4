"""Reads the image files of a folder for a streamed source, and checks that they have not changed."""

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
    """Reads the image files of a listing. It implements the interface `stream.Records`."""

    def __init__(self, root: str, files: Sequence[ImageFile]) -> None:
        self._root = root
        self._names = [file.relative for file in files]
        self._sizes = np.array([file.size for file in files], np.int64)
        self._times = np.array([file.mtime_ns for file in files], np.int64)
        self.state = state(root, files)
        """Digest of what the file system says about the files; see the function `state`."""

    def path(self, position: int) -> str:
        """The path of a file."""
        return os.path.join(self._root, self._names[position])

    def name(self, position: int) -> str:
        """The path of a file, as printable text for messages."""
        return shown(self.path(position))

    def entry(self, position: int) -> Entry:
        """Reads the header of an image.

        Raises:
          decode.Unreadable: the file is missing, empty, not an image, or damaged.
        """
        return Entry(decode.header(self.path(position)))

    def content(self, position: int) -> bytes:
        """Reads a file; raises decode.Unreadable if it is missing, or has changed since it was listed."""
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
        """Adds the path (relative to the root) and the size in bytes of each file to a digest."""
        for position in positions.tolist():
            digest.update(os.fsencode(self._names[position]) + f"\0{self._sizes[position]}\n".encode())


def state(root: str, files: Iterable[ImageFile]) -> str:
    """A digest of a folder's path and of what the file system says about its files: SHA-256, in hexadecimal.

    For each file, the digest contains its name, its size and three facts that detect changes:

    - the modification time. It is not enough, because archives and copies keep it.
    - the inode. It detects files that have swapped their names.
    - the time of the inode's last change. It detects files that were rewritten in place.

    A copied folder has another digest, although its pixels are the same.
    """
    digest = hashlib.sha256(os.fsencode(os.path.realpath(root)))
    for file in files:
        told = f"\0{file.size}\0{file.mtime_ns}\0{file.ctime_ns}\0{file.inode}\n"
        digest.update(os.fsencode(file.relative) + told.encode())
    return digest.hexdigest()
