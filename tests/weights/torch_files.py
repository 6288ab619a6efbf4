"""Files as torch.save writes them, made without PyTorch: opcode by opcode, as torch/serialization.py describes them."""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from resnet_jax.weights.pickled import MAGIC

STORAGES = {"<f4": "FloatStorage", "<f8": "DoubleStorage", "<f2": "HalfStorage", "<i8": "LongStorage"}
STORAGES |= {np.dtype(ml_dtypes.bfloat16).str: "BFloat16Storage"}


class Call:
    """A call of a function by its name, to be pickled."""

    def __init__(self, module: str, name: str, arguments: bytes = b")") -> None:
        self.code = f"c{module}\n{name}\n".encode() + arguments + b"R"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    key: str, array: np.ndarray, *, legacy: bool, offset: int = 0, strides: tuple[int, ...] | None = None
) -> bytes:
    """The opcodes of one tensor, contiguous if nothing else is said."""
    kind = STORAGES[array.dtype.str]
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(array.size)
    storage += (b"N" if legacy else b"") + b"tQ"
    if strides is None:
        strides = tuple(step // array.itemsize for step in array.strides)
    where = storage + number(offset) + numbers(array.shape) + numbers(strides)
    rebuild, rest = (
        ("_rebuild_tensor", b"") if legacy else ("_rebuild_tensor_v2", b"\x89" + b"ccollections\nOrderedDict\n)R")
    )
    return f"ctorch._utils\n{rebuild}\n".encode() + b"(" + where + rest + b"tR"


def dictionary(entries: Mapping[str, bytes]) -> bytes:
    """The opcodes of an OrderedDict with `_metadata`, as state_dict() gives one."""
    items = b"".join(text(name) + code for name, code in entries.items())
    return b"ccollections\nOrderedDict\n)R(" + items + b"u" + b"}" + text("_metadata") + b"}s" + b"b"


def zipped(body: bytes, storages: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02" + body + b".")
        archive.writestr("net/byteorder", b"little")
        for key, array in storages.items():
            archive.writestr(f"net/data/{key}", array.tobytes())
    return file.getvalue()


def stream(body: bytes, storages: Mapping[str, np.ndarray]) -> bytes:
    head = [MAGIC, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"long": 4}}]
    parts = [pickle.dumps(part, 2) for part in head]
    parts += [b"\x80\x02" + body + b".", pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", array.size) + array.tobytes() for array in storages.values()]
    return b"".join(parts)


def saved(state: Mapping[str, np.ndarray], *, legacy: bool = False, under: str | None = None) -> bytes:
    """What torch.save(state) or torch.save({under: state, "epoch": 3}) writes, for arrays without a prefix."""
    storages = {str(i): np.ascontiguousarray(array) for i, array in enumerate(state.values())}
    arrays = zip(state, storages.items(), strict=True)
    entries = {name: tensor(key, array.reshape(state[name].shape), legacy=legacy) for name, (key, array) in arrays}
    body = dictionary(entries)
    if under is not None:
        body = b"}(" + text("epoch") + number(3) + text(under) + body + b"u"
    return stream(body, storages) if legacy else zipped(body, storages)


def calling(module: str, name: str, argument: str, *, legacy: bool) -> bytes:
    """A file that has a function called when it is unpickled."""
    body: Any = Call(module, name, b"(" + text(argument) + b"t").code
    return stream(body, {}) if legacy else zipped(body, {})
