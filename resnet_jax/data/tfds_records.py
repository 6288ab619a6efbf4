"""The examples of a prepared TFDS data set, read one by one from its array_record files for a streamed source."""

from __future__ import annotations

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

OTHER_FILES = 512  # that a process has open besides: checkpoints, sockets, libraries


class TfdsRecords:
    """The examples of some splits, split after split. Several threads may read them at once."""

    def __init__(self, builder: Any, splits: Sequence[str]) -> None:
        """Opens nothing yet: a file is opened at its first example, and stays open.

        Args:
          builder: from tfds_files.open_prepared.
          splits: names of splits.
        """
        self._splits = splits
        self._infos = [builder.info.splits[split] for split in splits]
        self._ends = list(accumulate(int(info.num_examples) for info in self._infos))
        # Undecoded: TFDS would take OpenCV where it is installed, and decode images that are not used.
        skip = {
            name: tensorflow_datasets.decode.SkipDecoding()
            for name, feature in builder.info.features.items()
            if isinstance(feature, tensorflow_datasets.features.Image)
        }
        self._sources = [builder.as_data_source(split=split, decoders=skip) for split in splits]
        self._version = f"{builder.name} {builder.version}"
        self.checksums: npt.NDArray[np.uint32] | None = None
        """[N], by position, of the encoded images: to be set once the headers have been read."""

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def state(self) -> str:
        """See stream.Records."""
        digest = hashlib.sha256()
        for file in self.files():
            status = os.stat(file)
            told = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            digest.update(f"{os.path.realpath(file)} {told}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def allow_open_files(self) -> None:
        """Lets this process hold all files open: those of imagenet2012 are more than systems usually allow.

        Raises:
          UserError: the system does not allow so many.
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
                f"{self._version}: its {len(self.files()):,} files are held open, and the system allows a process "
                f"{hard:,} (ulimit -Hn); raise that to {needed:,}, or prepare the data in fewer files."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

    def content(self, position: int) -> bytes:
        """See stream.Records."""
        return self.example(position)[0]

    def entry(self, position: int) -> Entry:
        """The header of an image, its label and its checksum.

        Raises:
          decode.Unreadable: the file is damaged at this example, or the image is damaged.
        """
        image, label = self.example(position)
        return Entry(decode.header(image), label, zlib.crc32(image))

    def name(self, position: int) -> str:
        """See stream.Records."""
        part, i = self._place(position)
        shard = bisect_right(list(accumulate(self._infos[part].shard_lengths)), i)
        return f"image {i:,} of {self._splits[part]} in {shown(str(self._infos[part].filepaths[shard]))}"

    def fingerprint(self, digest: Digest, positions: Positions) -> None:
        """Adds the data set's name and version, and the checksum of each encoded image."""
        assert self.checksums is not None
        digest.update(f"{self._version}\0".encode())
        digest.update(self.checksums[positions].astype("<u4").tobytes())

    def files(self) -> list[str]:
        """The paths of all files, split after split."""
        return [str(file) for info in self._infos for file in info.filepaths]

    def _place(self, position: int) -> tuple[int, int]:
        """The number of the split, and the position within it."""
        part = bisect_right(self._ends, position)
        return part, position - (self._ends[part - 1] if part else 0)

    def example(self, position: int) -> tuple[bytes, int]:
        """The encoded image and its label.

        Raises:
          decode.Unreadable: the file is missing, or damaged at this example.
        """
        part, i = self._place(position)
        try:
            found = self._sources[part][i]
            return found["image"], int(found["label"])
        except Exception as error:  # a checksum that is wrong, a file that is gone, or an example of other features
            raise decode.Unreadable(f"its example cannot be read ({reason(error)})", passing=True) from None
