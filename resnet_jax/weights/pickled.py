"""PyTorch's own files (.pt, .pth, .th), read without PyTorch and without running what is in them.

Such a file is a pickle, which may name any function of any module and have it called. Here the unpickler is Python's,
restricted as its documentation describes: of all names that a pickle asks for it gets those of the tables below. For a
tensor's names it gets functions of ours that only note what the tensor is. For the names of values that stand beside a
state dict in training checkpoints, such as sets, dates and argparse.Namespace, it gets a class of ours that keeps
nothing and runs nothing. For any other name the file is refused before anything is called.

torch.load(weights_only=True) is restricted in the same way, with other tables: it reads sets of its own choice, and
refuses argparse.Namespace and NumPy's values until its caller allows them. It needs PyTorch. Libraries that do without
PyTorch read zip files alone; weights published in 2018 are older.

Two formats (torch/serialization.py): a zip file of `<name>/data.pkl` and `<name>/data/<key>` for each storage; and, up
to PyTorch 1.5, a stream: a magic number, a version and the machine's sizes, each pickled, the object, the keys of its
storages, and for each of them its length, 8 bytes, and its numbers.
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
# Numbers that no net here has, by types of the same sizes. torch.load(weights_only=True) reads tensors of them, so they
# may stand beside a state dict.
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
# Values that stand beside state dicts in checkpoints: schedules, options, dates, counts. None of them is needed.
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
    """Where a view begins, in numbers; old files may have views."""
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
    """What numbers it has, where they are not read here; None: they are."""


class _Unreadable(Exception):
    """There are numbers of a type that is not read; the message is a clause."""


class _Refused(Exception):
    """A pickle asks for a name that no state dict needs."""


class _Damaged(Exception):
    """A file is not as PyTorch writes it; the message is a clause."""


def is_pickled(content: bytes) -> bool:
    """Whether a file begins as PyTorch's own do: as a zip file, or as a pickle."""
    # Safetensors files begin with a length, whose first byte may be a pickle's; after it comes JSON.
    return content.startswith((b"PK\x03\x04", b"\x80")) and content[8:9] != b"{"


def read(content: bytes, file: str, *, from_key: str | None = None, note: Note = lambda text: None) -> dict[str, Array]:
    """The arrays of a state dict, by name, in the dtypes and shapes of the file.

    Args:
      content: of the file, whole. The state dict is its object, or stands in it under a key.
      file: its name, for messages.
      from_key: the key, such as "model_ema"; None: see nested.py.
      note: receives a remark where the file has several state dicts.

    Raises:
      UserError: it would have to run code, it is damaged or truncated, or there is no state dict in it.
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
            f"{file}: a pickle that asks for {name}, which no state dict needs and which is not known to be harmless; "
            f"nothing of it was run; {nested.ADVICE}."
        ) from None
    except _Unreadable as numbers:
        raise UserError(f"{file}: {numbers}, which is not read here; save it in float32.") from None
    # pickle and zipfile raise whatever a damaged file leads them to, such as sizes beyond any memory.
    except (Exception, MemoryError, RecursionError) as error:
        raise UserError(f"{file}: damaged or truncated ({reason(error)}).") from None


class _Bytes(io.BytesIO):
    """A stream whose lines end with a newline: a name that the file's end cuts short is damage, not another name."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n"):
            raise EOFError("it ends within a name")
        return line


# Python's own, not the one in C: that takes memory for the largest number of an object that a damaged pickle names.
class _Unpickler(pickle._Unpickler):
    """Builds dictionaries, lists, numbers, text, and notes on tensors; refuses every other name."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="utf-8")
        self.dtypes: dict[str, str] = {}
        """The dtype of each storage, by the storage's key."""

        # Made anew for each file: a pickle may set attributes of what it is given.
        class Dictionary(dict[Any, Any]):
            """In the place of OrderedDict, whose order all dictionaries have now."""

        class Inert:
            """In the place of a value that is not needed: takes whatever a pickle does with one, and keeps nothing."""

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
        """What a pickle gets for a name."""
        if (module, name) not in self._known:
            if module == "torch" and TORCH_DTYPES.fullmatch(name):
                return type(name, (self._inert,), {})
            if module == "torch" and name.endswith("Storage"):
                raise _Unreadable(f"has numbers of type {name.removesuffix('Storage')}")
            raise _Refused(f"{module}.{name}")
        return self._known[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        """What it gets for ("storage", dtype, key, device, length, None or (key, offset, length) of a view)."""
        if identity[0] != "storage":
            raise _Refused(f"{identity[0]} {identity[1]}")
        _, dtype, key, _, _, *view = identity
        offset = view[0][1] if view and view[0] else 0
        self.dtypes[key] = (DTYPES | UNREAD)[dtype]
        return _Storage(key, self.dtypes[key], offset, dtype.removesuffix("Storage"))


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

    return _Unpickler(_Bytes(file.read(pickled))).load(), storage


def _stream(content: bytes) -> tuple[Any, Callable[[_Storage], Array]]:
    """The same of a file of PyTorch 1.5 or earlier."""
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
    # Checked, for NumPy would read beyond the array; and no larger than it, which repeated rows could be.
    inside = min((*tensor.shape, *tensor.strides, tensor.offset), default=0) >= 0 and size <= len(numbers)
    if not inside or (size and tensor.offset + sum(steps) >= len(numbers)):
        raise _Damaged("a tensor lies outside its numbers")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False).copy()
