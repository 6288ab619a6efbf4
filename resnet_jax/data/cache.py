"""Stores arrays that were computed from a data set, for later runs: decoded images, headers, statistics.

The arrays are in .npz files in $XDG_CACHE_HOME/resnet_jax, or by default in ~/.cache/resnet_jax. Each file contains a
key, which is a digest of everything that its arrays depend on. A file with another key is not used. The checksums of
the zip format detect damage.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import PIL

from resnet_jax.data import arrays, decode, memory
from resnet_jax.data.arrays import Array, Damaged
from resnet_jax.text import Note, reason, shown

KEY = "key"


def file(name: str, kind: str, digest: str) -> Path | None:
    """Path of a cache file; None if there is no home folder.

    Args:
      name: name of the data set; its letters and digits become part of the file name.
      kind: content of the file, such as "headers".
      digest: hexadecimal digest; its first 16 digits become part of the file name.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The XDG Base Directory Specification forbids relative paths.
        base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    except RuntimeError:
        return None
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:64]
    return base / "resnet_jax" / f"{safe}-{kind}-{digest[:16]}.npz"


def key(*parts: str) -> str:
    """Computes a key: SHA-256, in hexadecimal, of `parts`, the version of Pillow, and decode.VERSION."""
    rules = f"{decode.VERSION} Pillow {PIL.__version__}"
    return hashlib.sha256("\0".join((rules, *parts)).encode("utf-8", "surrogateescape")).hexdigest()


def read(path: Path | None, key: str, note: Note) -> dict[str, Array] | None:
    """Reads the arrays that `write` stored with this key; None if there are none.

    A file that is damaged or has another key is deleted, and `note` gets a remark.

    Raises:
      UserError: the arrays need more memory than is available.
    """
    if path is None:
        return None
    try:
        with arrays.opened(path) as kept:
            names = [name for name in kept.names if name != KEY]
            if KEY not in kept.names or str(kept.read(KEY)) != " ".join([key, *names]):
                raise Damaged("the images, or the way to read them, have changed since")
            size = sum(map(kept.size, names))
            memory.require(size, f"the arrays in {shown(str(path))}", "use fewer images, or a smaller data.image_size")
            return {name: kept.read(name) for name in names}
    except FileNotFoundError:
        return None
    except (Damaged, OSError) as error:
        with contextlib.suppress(OSError):
            path.unlink()
        note(f"the cache {shown(str(path))} is removed, because {reason(error)}; the images are read again.")
        return None


def write(path: Path | None, key: str, kept: Mapping[str, Array], note: Note) -> bool:
    """Writes arrays to a cache file. Returns True if the file is written, otherwise False.

    If the file cannot be written, `note` gets the reason. If another process is writing the same file, this call writes
    nothing. A killed process leaves an incomplete file, PATH.part, which the next call overwrites.
    """
    size = sum(array.nbytes for array in kept.values())
    try:
        if path is None:
            raise OSError("there is no home folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Checked first, because a full disk would break other programs.
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _write(path, {KEY: np.array(" ".join([key, *kept])), **kept})
    except BlockingIOError:
        return False
    except OSError as error:
        what = f"the cache {shown(str(path))}" if path else "a cache"
        note(f"{what} ({memory.gigabytes(size)}) cannot be written: {reason(error)}; the next run reads all again.")
        return False
    return True


def _write(path: Path, kept: Mapping[str, Array]) -> None:
    part = path.with_name(f"{path.name}.part")
    with open(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not part.exists() or not os.path.samestat(os.fstat(stream.fileno()), part.stat()):
            raise BlockingIOError  # another process replaced the file between `open` and `flock`
        try:
            stream.truncate()
            np.savez(stream, **kept)  # type: ignore[arg-type]  # its stub takes no **
            stream.flush()
            os.fsync(stream.fileno())
            os.replace(part, path)
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
