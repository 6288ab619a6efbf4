"""Reads arrays from the bytes of a file. Its content shows whether it is safetensors or a pickle of PyTorch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from safetensors import SafetensorError

from resnet_jax.data import memory
from resnet_jax.errors import UserError
from resnet_jax.weights import pickled
from resnet_jax.weights.arrays import Arrays

DTYPES: dict[str, Any] = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "BOOL": "?"},
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
}


def content_of(file: Path) -> bytes:
    """Reads a whole file.

    Raises:
      UserError: the file is missing, empty, or larger than the available memory.
    """
    if not file.exists():
        raise UserError(f"{file}: there is no such file or folder.")
    if not file.is_file():
        raise UserError(f"{file}: not a file.")
    memory.require(file.stat().st_size, f"the arrays in {file}", "use a machine with more")
    content = file.read_bytes()
    if not content:
        raise UserError(f"{file}: empty (0 bytes).")
    return content


def arrays_of(
    content: bytes, file: str, *, from_key: str | None = None, note: Callable[[str], None] = lambda text: None
) -> Arrays:
    """The arrays of a file by name. Names, dtypes and layouts are as in the file.

    `content` is the whole content of the file, and `file` is its name, for messages. See `pickled.read` for `from_key`
    and `note`.

    Raises:
      UserError: the file is damaged, or is neither safetensors nor a pickled state dict.
      UserError: reading the file would run code.
    """
    if pickled.is_pickled(content):
        arrays = pickled.read(content, file, from_key=from_key, note=note)
    else:
        arrays = _safetensors(content, file)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UserError(
                f"{file}: {name} has numbers that are not finite; the file is damaged, or the net diverged."
            )
    return arrays


def _safetensors(content: bytes, file: str) -> Arrays:
    if content[8:9] != b"{":
        raise UserError(f"{file}: not safetensors, and not written by torch.save.")
    try:
        # Sorted, because safetensors returns another order in each call.
        entries = sorted(safetensors.deserialize(content))  # type: ignore[no-untyped-call]
        return {
            name: np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in entries
        }
    except (SafetensorError, ValueError, OverflowError, MemoryError) as error:
        raise UserError(f"{file}: damaged or truncated ({str(error).rstrip('.')}).") from None
    except KeyError as error:
        raise UserError(f"{file}: has numbers of type {error}, which is not supported; save it in float32.") from None
