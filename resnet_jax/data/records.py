"""Image files of a folder as a streamed source reads them: by position, and noticed when they change."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from resnet_jax.data import decode
from resnet_jax.data.dataset import Digest, Positions
from resnet_jax.data.headers import Entry
from resnet_jax.data.walk import ImageFile
from resnet_jax.text import shown


class FileRecords:
    """The files of a listing, held in little memory: 130 bytes and the length of its name for each file."""

    def __init__(self, root: str, files: Sequence[ImageFile]) -> None:
        self._root = root
        self._names = [file.relative for file in files]
        self._sizes = np.array([file.size for file in files], np.int64)
        self._times = np.array([file.mtime_ns for file in files], np.int64)

    def path(self, position: int) -> str:
        """The file's path."""
        return os.path.join(self._root, self._names[position])

    def name(self, position: int) -> str:
        """See Records."""
        return shown(self.path(position))

    def entry(self, position: int) -> Entry:
        """Size and mode of the image; its label is the listing's.

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
            raise decode.Unreadable(f"{error.strerror or error}, and it was there when the run began") from None
        if (status.st_size, status.st_mtime_ns) != (self._sizes[position], self._times[position]):
            raise decode.Unreadable("the file has changed since the run began")
        return content

    def fingerprint(self, digest: Digest, positions: Positions) -> None:
        """Adds path below the root and size in bytes of each file."""
        for position in positions.tolist():
            digest.update(os.fsencode(self._names[position]) + f"\0{self._sizes[position]}\n".encode())
