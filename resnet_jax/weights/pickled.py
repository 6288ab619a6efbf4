"""PyTorch's own files (.pt, .pth, .th), read without PyTorch and without running what is in them.

Such a file is a pickle, which may name any function of any module and have it called. Here the unpickler is Python's,
restricted as its documentation describes: of all names that a pickle asks for it gets those of the table below, each a
function of ours that only notes what a tensor is; for any other name the file is refused before anything is called.
torch.load(weights_only=True) does the same, but needs PyTorch; libraries that do without it read zip files alone, and
published weights of 2018 are older than those.

Two formats (torch/serialization.py): a zip file of `<name>/data.pkl` and `<name>/data/<key>` for each storage; and, up
to PyTorch 1.5, a stream: a magic number, a version and the machine's sizes, each pickled, the object, the keys of its
storages, and for each of them its length, 8 bytes, and its numbers.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resnet_jax.errors import UserError
from resnet_jax.text import reason

Array = npt.NDArray[Any]

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
# Where training scripts keep the state dict in a larger checkpoint, the most usual first.
NESTED = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
ADVICE = "save it anew with torch.save(net.state_dict(), FILE)"


@dataclass(frozen=True)
class _Storage:
    """A flat array elsewhere in the file."""

    key: str
    dtype: str
    offset: int
    """Of a view, which old files may have, in numbers."""


@dataclass(frozen=True)
class _Tensor:
    """A strided part of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unreadable(Exception):
    """Numbers of a kind, which is the message, that are not read."""


class _Refused(Exception):
    """A pickle asks for a name that no state dict needs."""


class _Damaged(Exception):
    """A file is not as PyTorch writes it; the message is a clause."""


def is_pickled(content: bytes) -> bool:
    """Whether a file begins as PyTorch's own do: as a zip file, or as a pickle."""
    return content.startswith((b"PK\x03\x04", b"\x80"))


def read(content: bytes, file: str) -> dict[str, Array]:
    """The arrays of a state dict, by name, in the dtypes and shapes of the file.

    Args:
      content: of the file, whole. The state dict is its object, or stands in it under one of the usual names.
      file: its name, for messages.

    Raises:
      UserError: it would have to run code, it is damaged or truncated, or there is no state dict in it.
    """
    try:
        found, storages = _zipped(content) if content.startswith(b"PK") else _stream(content)
        return {name: _array(tensor, storages) for name, tensor in _state_dict(found, file).items()}
    except UserError:
        raise
    except _Refused as name:
        raise UserError(
            f"{file}: a pickle that asks for {name}, which no state dict needs and which could run any program; "
            f"nothing of it was run; {ADVICE}."
        ) from None
    except _Unreadable as kind:
        raise UserError(f"{file}: has numbers of the kind {kind}, which NumPy has not; save it in float32.") from None
    except Exception as error:  # pickle and zipfile raise whatever a damaged file leads them to
        raise UserError(f"{file}: damaged or truncated ({reason(error)}).") from None


class _Unpickler(pickle.Unpickler):
    """Builds dictionaries, lists, numbers, text, and notes on tensors; refuses every other name."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="utf-8")
        self.dtypes: dict[str, str] = {}
        """Of each storage, by its key."""

        # Made anew for each file: a pickle may set attributes of what it is given.
        class Dictionary(dict[Any, Any]):
            """In the place of OrderedDict, whose order all dictionaries have now."""

        def tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
            return _Tensor(storage, offset, tuple(shape), tuple(strides))

        def parameter(data: Any, *_: Any) -> Any:
            return data

        self._known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): Dictionary,
            ("torch._utils", "_rebuild_tensor"): tensor,
            ("torch._utils", "_rebuild_tensor_v2"): tensor,
            ("torch._utils", "_rebuild_parameter"): parameter,
            ("torch", "Size"): lambda sizes: tuple(sizes),
            **{("torch", name): name for name in DTYPES},
        }

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle gets for a name."""
        if (module, name) not in self._known:
            if module == "torch" and name.endswith("Storage"):
                raise _Unreadable(name.removesuffix("Storage"))
            raise _Refused(f"{module}.{name}")
        return self._known[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        """What it gets for ("storage", dtype, key, device, length, None or (key, offset, length) of a view)."""
        if identity[0] != "storage":
            raise _Refused(f"{identity[0]} {identity[1]}")
        _, dtype, key, _, _, *view = identity
        offset = view[0][1] if view and view[0] else 0
        self.dtypes[key] = DTYPES[dtype]
        return _Storage(key, DTYPES[dtype], offset)


def _zipped(content: bytes) -> tuple[Any, Callable[[_Storage], Array]]:
    """The object of a zip file, and where its storages are found."""
    file = zipfile.ZipFile(io.BytesIO(content))
    try:
        (pickled,) = (name for name in file.namelist() if name.rpartition("/")[2] == "data.pkl")
    except ValueError:
        raise _Damaged("a zip file without one data.pkl, so not PyTorch's") from None
    root = pickled.removesuffix("data.pkl")
    if f"{root}byteorder" in file.namelist() and file.read(f"{root}byteorder") != b"little":
        raise _Damaged("its numbers are big-endian, which is not read here")

    def storage(wanted: _Storage) -> Array:
        return np.frombuffer(file.read(f"{root}data/{wanted.key}"), wanted.dtype)

    return _Unpickler(io.BytesIO(file.read(pickled))).load(), storage


def _stream(content: bytes) -> tuple[Any, Callable[[_Storage], Array]]:
    """The same of a file of PyTorch 1.5 or earlier."""
    stream = io.BytesIO(content)
    if (_Unpickler(stream).load(), _Unpickler(stream).load()) != (MAGIC, PROTOCOL):
        raise _Damaged("a pickle, but not as torch.save writes it")
    if not _Unpickler(stream).load()["little_endian"]:
        raise _Damaged("its numbers are big-endian, which is not read here")
    unpickler = _Unpickler(stream)
    found, keys = unpickler.load(), _Unpickler(stream).load()
    start, places = stream.tell(), dict[str, int]()

    def storage(wanted: _Storage) -> Array:
        at = places[wanted.key]
        return np.frombuffer(content, wanted.dtype, count=int.from_bytes(content[at : at + 8], "little"), offset=at + 8)

    for key in keys:
        places[key] = start
        start += 8 + int.from_bytes(content[start : start + 8], "little") * np.dtype(unpickler.dtypes[key]).itemsize
        if start > len(content):
            raise _Damaged(f"it ends within its numbers, after {len(content):,} bytes")
    return found, storage


def _array(tensor: _Tensor, storages: Callable[[_Storage], Array]) -> Array:
    numbers = storages(tensor.storage)[tensor.storage.offset :]
    steps = [(size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)]
    size = math.prod(tensor.shape)
    # Checked, for NumPy would read beyond the array; and no larger than it, which repeated rows could be.
    inside = min((*tensor.shape, *tensor.strides, tensor.offset), default=0) >= 0 and size <= len(numbers)
    if not inside or (size and tensor.offset + sum(steps) >= len(numbers)):
        raise _Damaged("a tensor lies outside its numbers")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False).copy()


def _state_dict(found: Any, file: str) -> Mapping[str, _Tensor]:
    """The state dict that an object is, or has."""
    if not isinstance(found, dict):
        raise UserError(f"{file}: holds {type(found).__name__}, not a state dict; {ADVICE}.")
    for place in (found, *(found[name] for name in NESTED if name in found)):
        tensors = {name: value for name, value in place.items() if isinstance(value, _Tensor)} if _named(place) else {}
        if any("." in name for name in tensors):
            return tensors
    there = ", ".join(map(str, list(found)[:5])) or "nothing"
    raise UserError(f"{file}: no state dict in it, nor under {', '.join(NESTED)} (it holds {there}); {ADVICE}.")


def _named(place: Any) -> bool:
    return isinstance(place, dict) and all(isinstance(name, str) for name in place)
