"""Reads the examples of a prepared TFDS data set from its array_record files, for a streamed source."""

import hashlib
import os
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_datasets

from resnet_jax.data import decode
from resnet_jax.data.dataset import Digest, Positions
from resnet_jax.data.headers import Entry
from resnet_jax.errors import UserError
from resnet_jax.text import reason, shown

OTHER_FILES = 512  # upper estimate of the other files that a process has open: checkpoints, sockets, libraries


class TfdsRecords:
    """Reads the examples of one or more splits. It implements the interface `stream.Records`.

    Positions count the examples of the first split, then those of the next. Several threads may read at the same time.
    """

    def __init__(self, builder: Any, splits: Sequence[str]) -> None:
        """Opens no file: each file is opened when its first example is read, and stays open.

        Args:
          builder: TFDS's builder of the data set; see tfds_files.open_prepared.
          splits: names of splits.
        """
        self._splits = splits
        self._infos = [builder.info.splits[split] for split in splits]
        self._ends = list(accumulate(int(info.num_examples) for info in self._infos))
        # Images stay encoded: TFDS would decode all, also unused ones, and with OpenCV if it is installed.
        skip = {
            name: tensorflow_datasets.decode.SkipDecoding()
            for name, feature in builder.info.features.items()
            if isinstance(feature, tensorflow_datasets.features.Image)
        }
        self._sources = [builder.as_data_source(split=split, decoders=skip) for split in splits]
        self._version = f"{builder.name} {builder.version}"
        self.checksums: npt.NDArray[np.uint32] | None = None
        """[N], CRC-32 of each encoded image; None until the caller has read the headers and sets it."""

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def state(self) -> str:
        """A hexadecimal digest of what the file system says about all files. It changes when a file changes."""
        digest = hashlib.sha256()
        for file in self.files():
            status = os.stat(file)
            told = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            digest.update(f"{os.path.realpath(file)} {told}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def allow_open_files(self) -> None:
        """Increases this process's limit of open files, because data sets such as imagenet2012 have very many files.

        Raises:
          UserError: the system does not allow enough open files.
        """
        try:
            import resource
        except ImportError:  # a system without such limits
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = len(self.files()) + OTHER_FILES
        if soft >= needed or soft == resource.RLIM_INFINITY:
            return
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise UserError(
                f"{self._version}: its {len(self.files()):,} files are kept open, but the system allows a process only "
                f"{hard:,} open files (ulimit -Hn); raise this limit to {needed:,}, or prepare the data in fewer files."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

    def content(self, position: int) -> bytes:
        """Reads an encoded image; raises decode.Unreadable if the file is missing, or damaged at this example."""
        return self.example(position)[0]

    def entry(self, position: int) -> Entry:
        """Reads the header of an image, its label and its checksum.

        Raises:
          decode.Unreadable: the file is missing or is damaged at this example.
          decode.Unreadable: the file is intact, but the image in it is damaged.
        """
        image, label = self.example(position)
        return Entry(decode.header(image), label, zlib.crc32(image))

    def name(self, position: int) -> str:
        """The name of an image in messages, such as "image 7 of train in PATH"."""
        part, i = self._place(position)
        shard = bisect_right(list(accumulate(self._infos[part].shard_lengths)), i)
        return f"image {i:,} of {self._splits[part]} in {shown(str(self._infos[part].filepaths[shard]))}"

    def fingerprint(self, digest: Digest, positions: Positions) -> None:
        """Adds the data set's name and version, and the checksum of each encoded image, to a digest."""
        assert self.checksums is not None
        digest.update(f"{self._version}\0".encode())
        digest.update(self.checksums[positions].astype("<u4").tobytes())

    def files(self) -> list[str]:
        """The paths of all files of the splits."""
        return [str(file) for info in self._infos for file in info.filepaths]

    def _place(self, position: int) -> tuple[int, int]:  # the number of the split, and the position in this split
        part = bisect_right(self._ends, position)
        return part, position - (self._ends[part - 1] if part else 0)

    def example(self, position: int) -> tuple[bytes, int]:
        """Reads an encoded image and its label.

        Raises:
          decode.Unreadable: the file is missing, or damaged at this example.
        """
        part, i = self._place(position)
        try:
            found = self._sources[part][i]
            return found["image"], int(found["label"])
        except Exception as error:  # for example a wrong checksum, a missing file, or an example with other features
            raise decode.Unreadable(f"its example cannot be read ({reason(error)})", passing=True) from None
