"""Reads PyTorch's files (.pt, .pth, .th) without PyTorch, and without running code in them.

Such a file is a pickle, which can name any function and let it be called. This module uses Python's unpickler with a
fixed list of names:

- for the names of a tensor, it returns functions that only note the tensor's type, shape and position;
- for values that checkpoints often have beside a state dict, such as sets, dates and argparse.Namespace, it returns a
  class that keeps nothing and runs nothing;
- for any other name it refuses the file before anything is called.

torch.load(weights_only=True) has other lists and needs PyTorch. Other libraries only read zip files.

There are two formats (torch/serialization.py). A zip file has `<name>/data.pkl`, and `<name>/data/<key>` for each
storage. Up to PyTorch 1.5, a file is a stream: pickles of a magic number, a version and the sizes of the machine, the
object, the keys of its storages, and for each storage its length in 8 bytes and its numbers.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes  # noqa: F401  # gives NumPy the type "bfloat16"
import numpy as np
import numpy.typing as npt

from resnet_jax.errors import UserError
from resnet_jax.text import Note, reason
from resnet_jax.weights import nested

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
    "BFloat16Storage": "bfloat16",
}
# Types of numbers that no net here has, by types of equal size. torch.load(weights_only=True) reads such tensors, so a
# checkpoint may have them beside a state dict.
UNREAD = {
    "ComplexFloatStorage": "<c8",
    "ComplexDoubleStorage": "<c16",
    "QInt8Storage": "|i1",
    "QUInt8Storage": "|u1",
    "QInt32Storage": "<i4",
    "QUInt4x2Storage": "|u1",
    "QUInt2x4Storage": "|u1",
    "UntypedStorage": "|u1",
}
UNREAD_TENSORS = {
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_qtensor": "quantized",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_meta_tensor_no_storage": "meta",
}
# Values that checkpoints have beside state dicts: schedules, options, dates, counts. None is needed.
INERT = {
    "builtins": (
        *("set", "frozenset", "complex", "slice", "range", "bytearray", "bytes"),
        *("list", "dict", "tuple", "str", "int", "float", "bool", "object"),  # what a defaultdict makes
    ),
    "collections": ("Counter", "defaultdict", "deque"),
    "_codecs": ("encode",),  # how protocol 2 writes bytes
    "copyreg": ("_reconstructor",),
    "argparse": ("Namespace",),
    "types": ("SimpleNamespace",),
    "datetime": ("datetime", "date", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "uuid": ("UUID",),
    "numpy": ("dtype", "ndarray", "float64", "float32", "int64", "bool_"),
    "torch.serialization": ("_get_layout",),
    "torch": ("device", "Tensor", "per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams"),
}
PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")
INERT |= {"pathlib": PATHS, "pathlib._local": PATHS}
INERT |= {f"numpy.{core}.multiarray": ("scalar", "_reconstruct") for core in ("core", "_core")}
INERT |= {f"numpy.{core}.numeric": ("_frombuffer",) for core in ("core", "_core")}
# Names of Python 2, which protocol 2 writes.
INERT |= {"__builtin__": (*INERT["builtins"], "xrange", "unicode", "long"), "copy_reg": INERT["copyreg"]}
TORCH_DTYPES = re.compile(r"(b?float|q?u?int|complex|bits)\d+(x\d+)?(_e\d+m\d+\w*)?|bool")


@dataclass(frozen=True)
class _Storage:
    """A flat array elsewhere in the file."""

    key: str
    dtype: str
    offset: int
    """The start of a view, in numbers; old files may have views."""
    name: str
    """PyTorch's name of the type of its numbers, such as "Float"."""


@dataclass(frozen=True)
class _Tensor:
    """A strided part of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    unread: str | None = None
    """The type of its numbers if that is not supported; otherwise None."""


class _Unreadable(Exception):
    """The type of the numbers is not supported; the message is a clause."""


class _Refused(Exception):
    """A pickle asks for a name that no state dict needs."""


class _Damaged(Exception):
    """A file is not in PyTorch's format; the message is a clause."""


def is_pickled(content: bytes) -> bool:
    """Whether a file begins like PyTorch's files: as a zip file, or as a pickle."""
    # Safetensors files begin with a length, whose first byte may be a pickle's; after it comes JSON.
    return content.startswith((b"PK\x03\x04", b"\x80")) and content[8:9] != b"{"


def read(content: bytes, file: str, *, from_key: str | None = None, note: Note = lambda text: None) -> dict[str, Array]:
    """The arrays of a state dict, by name, in the dtypes and shapes of the file.

    Args:
      content: the whole content of the file. The state dict is its object, or a value of it.
      file: its name, for messages.
      from_key: the key, such as "model_ema"; None: see nested.py.
      note: receives a remark if the file has several state dicts.

    Raises:
      UserError: reading the file would run code, it is damaged or truncated, or it has no state dict.
    """
    try:
        found, storages = _zipped(content) if content.startswith(b"PK") else _stream(content)
        chosen = nested.choose(found, file, _Tensor, from_key, note)
        for name, tensor in chosen.items():
            if tensor.unread is not None:
                raise _Unreadable(f"{name} has numbers of type {tensor.unread}")
        return {name: _array(tensor, storages) for name, tensor in chosen.items()}
    except UserError:
        raise
    except _Refused as name:
        raise UserError(
            f"{file}: a pickle that asks for {name}, which a state dict does not need and may be dangerous; no code "
            f"was run; {nested.ADVICE}."
        ) from None
    except _Unreadable as numbers:
        raise UserError(f"{file}: {numbers}, which is not supported; save it in float32.") from None
    # For damaged files, pickle and zipfile raise many kinds of errors.
    except (Exception, MemoryError, RecursionError) as error:
        raise UserError(f"{file}: damaged or truncated ({reason(error)}).") from None


class _Bytes(io.BytesIO):
    """A stream that refuses a line without a newline, because a name that is cut short would be another name."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n"):
            raise EOFError("it ends within a name")
        return line


# The unpickler in Python, because the one in C can allocate too much memory for a damaged pickle.
class _Unpickler(pickle._Unpickler):
    """Builds dictionaries, lists, numbers, text, and descriptions of tensors; refuses every other name."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="utf-8")
        self.dtypes: dict[str, str] = {}
        """The dtype of each storage, by the storage's key."""

        # New classes for each file, because a pickle may set their attributes.
        class Dictionary(dict[Any, Any]):
            """Replaces OrderedDict; all dictionaries are ordered now."""

        class Inert:
            """Replaces a value that is not needed: accepts everything that a pickle does with it, and keeps nothing."""

            def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
                return super().__new__(cls)

            def __init__(self, *args: Any, **kwargs: Any) -> None: ...

            def ignore(self, *args: Any) -> None: ...

            __setstate__ = __setitem__ = append = extend = add = update = ignore

        def tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
            kind = f"{storage.name}Storage"
            return _Tensor(storage, offset, tuple(shape), tuple(strides), storage.name if kind in UNREAD else None)

        def unread(kind: str) -> _Tensor:
            return _Tensor(_Storage("", "|u1", 0, kind), 0, (), (), kind)

        self._known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): Dictionary,
            ("torch._utils", "_rebuild_tensor"): tensor,
            ("torch._utils", "_rebuild_tensor_v2"): tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
            ("torch._tensor", "_rebuild_from_type_v2"): lambda function, kind, arguments, state: function(*arguments),
            ("torch._utils", "_rebuild_tensor_v3"): lambda *arguments: unread(arguments[6].__name__),  # its dtype
            **{("torch._utils", name): lambda *_, kind=kind: unread(kind) for name, kind in UNREAD_TENSORS.items()},
            ("torch.storage", "UntypedStorage"): "UntypedStorage",
            ("torch", "Size"): lambda sizes: tuple(sizes),
            **{("torch", name): name for name in (*DTYPES, *UNREAD)},
            **{(module, name): Inert for module, names in INERT.items() for name in names},
        }
        self._inert = Inert

    def find_class(self, module: str, name: str) -> Any:
        """The object for a name in a pickle."""
        if (module, name) not in self._known:
            if module == "torch" and TORCH_DTYPES.fullmatch(name):
                return type(name, (self._inert,), {})
            if module == "torch" and name.endswith("Storage"):
                raise _Unreadable(f"has numbers of type {name.removesuffix('Storage')}")
            raise _Refused(f"{module}.{name}")
        return self._known[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        """The object for ("storage", dtype, key, device, length, None or (key, offset, length) of a view)."""
        if identity[0] != "storage":
            raise _Refused(f"{identity[0]} {identity[1]}")
        _, dtype, key, _, _, *view = identity
        offset = view[0][1] if view and view[0] else 0
        self.dtypes[key] = (DTYPES | UNREAD)[dtype]
        return _Storage(key, self.dtypes[key], offset, dtype.removesuffix("Storage"))


def _zipped(content: bytes) -> tuple[Any, Callable[[_Storage], Array]]:
    """The object of a zip file, and a function that reads its storages."""
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

    return _Unpickler(_Bytes(file.read(pickled))).load(), storage


def _stream(content: bytes) -> tuple[Any, Callable[[_Storage], Array]]:
    """The same for a file of PyTorch 1.5 or earlier."""
    stream = _Bytes(content)
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
    # Checked, because NumPy would read beyond the array, and repeated rows could be larger than it.
    inside = min((*tensor.shape, *tensor.strides, tensor.offset), default=0) >= 0 and size <= len(numbers)
    if not inside or (size and tensor.offset + sum(steps) >= len(numbers)):
        raise _Damaged("a tensor lies outside its numbers")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False).copy()
