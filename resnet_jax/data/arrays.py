"""Reads arrays from NumPy's .npz files that may be damaged or malicious.

Pickled objects are never read, because they could run any program. Before an array is read, its header is compared with
the size of its data, so that a wrong header cannot make NumPy allocate too much memory.
"""

import contextlib
import math
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resnet_jax.text import reason

Array = npt.NDArray[Any]
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Damaged(Exception):
    """A file, or the array `name` in it, cannot be read. The message is only the reason, without a full stop."""

    def __init__(self, why: str, name: str = "") -> None:
        super().__init__(why)
        self.name = name


class Archive:
    """An .npz file that is open for reading. Its methods raise Damaged."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self._members = {name.removesuffix(".npy"): name for name in file.namelist()}
        for name in self._members.values():  # a zip file stores each name twice; `open` checks that they are equal
            file.open(name).close()

    @property
    def names(self) -> list[str]:
        """The names of the arrays, without the suffix ".npy"."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Size of an array in bytes, from its header. Raises Damaged if its data have another size."""
        with _reasons(name), self._file.open(self._members[name]) as member:
            try:
                version = np.lib.format.read_magic(member)
            except ValueError:
                raise ValueError("it is not in NumPy's .npy form") from None
            if version not in HEADERS:  # the third is for the fields of structured arrays
                raise ValueError(f"its .npy form has the version {version[0]}.{version[1]}; legal: 1.0 and 2.0")
            shape, _, dtype = HEADERS[version](member)
            if dtype.hasobject:
                raise ValueError("it holds pickled Python objects, which could run any program and are not read")
            size = math.prod(map(int, shape)) * dtype.itemsize
            if size != self._file.getinfo(member.name).file_size - member.tell() or min(shape, default=0) < 0:
                raise ValueError(f"its header says shape {shape} and dtype {dtype}, but its data have another size")
            return size

    def read(self, name: str) -> Array:
        """Reads an array; raises Damaged if it holds pickled objects or its header does not fit its data."""
        self.size(name)
        with _reasons(name), self._file.open(self._members[name]) as member:
            array: Array = np.lib.format.read_array(member, allow_pickle=False)
            return array


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Opens an .npz file for reading.

    Raises:
      OSError: the file is missing, or cannot be opened.
      Damaged: it is not an .npz file, or it is truncated.
    """
    with path.open("rb") as stream:
        with _reasons(""):
            if not zipfile.is_zipfile(stream):
                raise ValueError("it is not an .npz file, or it is truncated")
            archive = Archive(zipfile.ZipFile(stream))
        yield archive


@contextlib.contextmanager
def _reasons(name: str) -> Iterator[None]:
    try:
        # NumPy may warn before it fails, if a damaged header looks like an old one. The error is enough.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # for damaged files, NumPy and zipfile raise many kinds of errors
        raise Damaged(reason(error), name) from None
