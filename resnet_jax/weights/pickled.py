"""Reads PyTorch's files (.pt, .pth, .th) without PyTorch, and without running code in them.

Such a file contains a pickle, which can name any Python function and have it called. This module uses Python's
unpickler with fixed lists of names:

- a name that belongs to a tensor is replaced by a function that only stores the tensor's type, shape and position;
- the name of another value in checkpoints, such as a set, a date or an argparse.Namespace, is replaced by a class that
  does nothing;
- if a file has any other name, it is refused before anything is called.

There are two formats (torch/serialization.py). Both store the numbers of tensors in storages, which are flat arrays. A
zip file has the pickle `<name>/data.pkl`, and the numbers of each storage in `<name>/data/<key>`. A file of PyTorch 1.5
or earlier has these parts, one after another:

- five pickles: a magic number, a version, the sizes of the machine's types, the object, the keys of its storages;
- for each storage, its length in 8 bytes, and then its numbers.
"""

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
# Types of numbers that no net here has, with NumPy's types of equal size. A checkpoint may have such tensors beside a
# state dict.
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
# Names of values that checkpoints have beside state dicts: schedules, options, dates, counts. They are ignored.
INERT = {
    "builtins": (
        *("set", "frozenset", "complex", "slice", "range", "bytearray", "bytes"),
        *("list", "dict", "tuple", "str", "int", "float", "bool", "object"),  # default_factory of a defaultdict
    ),
    "collections": ("Counter", "defaultdict", "deque"),
    "_codecs": ("encode",),  # pickle protocol 2 writes bytes with it
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
# Pickle protocol 2 writes the names of Python 2.
INERT |= {"__builtin__": (*INERT["builtins"], "xrange", "unicode", "long"), "copy_reg": INERT["copyreg"]}
TORCH_DTYPES = re.compile(r"(b?float|q?u?int|complex|bits)\d+(x\d+)?(_e\d+m\d+\w*)?|bool")


@dataclass(frozen=True)
class _Storage:
    """A description of a flat array, whose numbers are elsewhere in the file."""

    key: str
    dtype: str
    offset: int
    """Number of elements before the first element that is used; 0 in new files."""
    name: str
    """PyTorch's name of the type of its numbers, such as "Float"."""


@dataclass(frozen=True)
class _Tensor:
    """A description of a tensor: a strided part of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    unread: str | None = None
    """PyTorch's name of the type of its numbers, if the type is not supported; otherwise None."""


class _Unreadable(Exception):
    """The type of the numbers is not supported. The message says which tensor, and which type."""


class _Refused(Exception):
    """A pickle asks for a name that no state dict needs. The message is the name."""


class _Damaged(Exception):
    """A file is not in PyTorch's format. The message says why."""


def is_pickled(content: bytes) -> bool:
    """Whether a file begins like PyTorch's files: as a zip file, or as a pickle."""
    # A safetensors file begins with 8 bytes of length, whose first may be like a pickle's, and then JSON.
    return content.startswith((b"PK\x03\x04", b"\x80")) and content[8:9] != b"{"


def read(content: bytes, file: str, *, from_key: str | None = None, note: Note = lambda text: None) -> dict[str, Array]:
    """The arrays of a state dict, by name, in the dtypes and shapes of the file.

    Args:
      content: the whole content of the file: a pickled state dict, or a pickled dictionary that contains one.
      from_key: key of the state dict in the dictionary, such as "model_ema". None: a usual key; see nested.py.
      note: called with one sentence if the file has several state dicts.

    Raises:
      UserError: reading the file would run code, or the file is damaged, truncated or without a state dict.
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
            f"{file}: a pickle that asks for {name}, which no state dict needs and which may be dangerous; no code "
            f"was run; {nested.ADVICE}."
        ) from None
    except _Unreadable as numbers:
        raise UserError(f"{file}: {numbers}, which cannot be read; save the array in float32.") from None
    # For a damaged file, pickle and zipfile may raise any error.
    except (Exception, MemoryError, RecursionError) as error:
        raise UserError(f"{file}: damaged or truncated ({reason(error)}).") from None


class _Bytes(io.BytesIO):
    """The bytes of a pickle, as a stream. If the file ends inside a name, reading the name raises EOFError."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n"):
            raise EOFError("it ends within a name")
        return line


# Python's slow unpickler, because the fast one can allocate too much memory for a damaged pickle.
class _Unpickler(pickle._Unpickler):
    """Builds dictionaries, lists, numbers, texts and descriptions of tensors. Refuses other classes and functions."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="utf-8")
        self.dtypes: dict[str, str] = {}
        """The dtype of each storage, by the storage's key."""

        # New classes for each file, because a pickle may set their attributes.
        class Dictionary(dict[Any, Any]):
            """Replaces OrderedDict."""

        class Inert:
            """Replaces a value that is not needed. Accepts all calls that a pickle makes, and ignores them."""

            def __new__(cls, *args: Any, **kwargs: Any) -> Any:
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
        """Returns the object for a name in a pickle; the unpickler calls this method."""
        if (module, name) not in self._known:
            if module == "torch" and TORCH_DTYPES.fullmatch(name):
                return type(name, (self._inert,), {})
            if module == "torch" and name.endswith("Storage"):
                raise _Unreadable(f"has numbers of type {name.removesuffix('Storage')}")
            raise _Refused(f"{module}.{name}")
        return self._known[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        """Returns the description of a storage; the unpickler calls this method.

        `identity` is ("storage", dtype, key, device, length, view). The view may be missing, None or (_, offset, _).
        """
        if identity[0] != "storage":
            raise _Refused(f"{identity[0]} {identity[1]}")
        _, dtype, key, _, _, *view = identity
        offset = view[0][1] if view and view[0] else 0
        self.dtypes[key] = (DTYPES | UNREAD)[dtype]
        return _Storage(key, self.dtypes[key], offset, dtype.removesuffix("Storage"))


def _zipped(content: bytes) -> tuple[Any, Callable[[_Storage], Array]]:
    """Reads the object of a zip file, and returns it with a function that reads the numbers of a storage."""
    file = zipfile.ZipFile(io.BytesIO(content))
    try:
        (pickled,) = (name for name in file.namelist() if name.rpartition("/")[2] == "data.pkl")
    except ValueError:
        raise _Damaged("PyTorch's zip files have exactly one data.pkl") from None
    root = pickled.removesuffix("data.pkl")
    if f"{root}byteorder" in file.namelist() and file.read(f"{root}byteorder") != b"little":
        raise _Damaged("its numbers are big-endian, which is not read here")

    def storage(wanted: _Storage) -> Array:
        return np.frombuffer(file.read(f"{root}data/{wanted.key}"), wanted.dtype)

    return _Unpickler(_Bytes(file.read(pickled))).load(), storage


def _stream(content: bytes) -> tuple[Any, Callable[[_Storage], Array]]:
    """Reads the object of a file of PyTorch 1.5 or earlier, and returns it with a function as in `_zipped`."""
    stream = _Bytes(content)
    if (_Unpickler(stream).load(), _Unpickler(stream).load()) != (MAGIC, PROTOCOL):
        raise _Damaged("a pickle that torch.save did not write")
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
    # Checked, because NumPy would read beyond the array. Strides of 0 could make a tensor larger than the array.
    inside = min((*tensor.shape, *tensor.strides, tensor.offset), default=0) >= 0 and size <= len(numbers)
    if not inside or (size and tensor.offset + sum(steps) >= len(numbers)):
        raise _Damaged("a tensor lies outside its numbers")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False).copy()
