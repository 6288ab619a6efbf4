"""Decoded images kept in one file, so that they are decoded once.

The file: a line that names the format; a line of JSON (fingerprint, shapes, images left out); the bytes of training
images, training labels (little-endian int32), test images, test labels; the SHA-256 of all before it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL

from resnet_jax.data import decode, memory
from resnet_jax.data.dataset import ArraySource
from resnet_jax.data.walk import ImageFile
from resnet_jax.files import replacing, short_digest
from resnet_jax.text import Note, reason, shown

MAGIC = b"resnet_jax images 1\n"
LABEL = np.dtype("<i4")
STEP = 1 << 24  # bytes read, written and digested at a time
HEADER_LIMIT = 1 << 26  # bytes; names of images left out may be many


@dataclass(frozen=True)
class Contents:
    """What is kept of a folder."""

    train: ArraySource
    test: ArraySource
    left_out: tuple[str, ...]
    """Images that could not be read, with the reasons."""
    remark: str = ""
    """A sentence on the channels that were chosen, for people; empty: there is nothing to say."""


class _Unusable(Exception):
    """Why a cache cannot be used, as a clause."""


def home() -> Path:
    """The folder of everything that is kept about data.

    Raises:
      OSError: there is no home folder to put it in.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # A relative path is not to be used, says the XDG Base Directory Specification.
        base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    except RuntimeError as error:
        raise OSError("no home folder is known") from error
    return base / "resnet_jax"


def place(root: str, *, image_size: int | None, bad_images: str, channels: int | str = "auto") -> Path:
    """Where the images of a folder, read in this way, are kept: one file, replaced when the folder changes.

    Raises:
      OSError: as `home`.
    """
    whole = os.path.realpath(root)
    way = f"\0{image_size}\0{bad_images}" + _channels(channels)
    digest = short_digest(os.fsencode(whole) + way.encode())
    name = re.sub(r"[^\w.-]", "_", os.path.basename(whole), flags=re.ASCII)[:64]
    return home() / f"{name}-{image_size or 'as-stored'}-{digest}.images"


def fingerprint(
    files: Iterable[ImageFile], *, image_size: int | None, bad_images: str, channels: int | str = "auto"
) -> str:
    """SHA-256, hexadecimal, over what the file system says of the images and over the way they are read.

    Names, sizes and modification times are not enough: archives give all their files one time, and copies keep it. So
    the inode is in it too, which sees folders or files that swapped names, and the time of the inode's change, which
    sees a file rewritten in place whatever modification time it was given. The price: a folder that was copied, moved
    to another disk, or had its owner or permissions changed is decoded anew though its pixels are the same.
    """
    rules = f"{decoding()} {image_size} {bad_images}{_channels(channels)}\n"
    digest = hashlib.sha256(rules.encode())
    for file in files:
        told = f"\0{file.size}\0{file.mtime_ns}\0{file.ctime_ns}\0{file.inode}\n"
        digest.update(os.fsencode(file.relative) + told.encode())
    return digest.hexdigest()


def _channels(channels: int | str) -> str:
    """The part of a key that names the channels; empty for "auto", as in the keys of earlier versions."""
    return "" if channels == "auto" else f"\0{channels}"


def decoding() -> str:
    """The rules by which images are decoded here: others give other pixels."""
    return f"{decode.VERSION} Pillow {PIL.__version__}"


def read(path: Path, key: str, note: Note, side: int | None = None) -> Contents | None:
    """What `write` kept under this fingerprint, or None; a file that is damaged or of another state is removed.

    Args:
      side: height and width that the images must have, else None is given and the file stays; None: any.

    Raises:
      UserError: the images need more memory than there is.
    """
    try:
        with path.open("rb") as file:
            return _parse(file, key, side)
    except FileNotFoundError:
        return None
    except (_Unusable, OSError) as error:
        with contextlib.suppress(OSError):
            path.unlink()
        note(f"the cache {shown(str(path))} is dropped, for {reason(error)}; the images are read again.")
        return None


def write(path: Path, key: str, contents: Contents, note: Note) -> None:
    """Keeps `contents` for `read`; where that cannot be, a sentence says so, and no part of a file is left.

    A process that is killed does leave its part. The next one to write this cache removes it.
    """
    size = sum(s.images.nbytes + s.labels.nbytes for s in (contents.train, contents.test))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        # Asked first: filling the disk, if only for a moment, would break other programs.
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with replacing(path, path.with_name(f"{_family(path)}{os.getpid()}.tmp")) as part, open(part, "wb") as file:
            _dump(file, key, contents)
    except OSError as error:
        note(
            f"the decoded images ({memory.gigabytes(size)}) cannot be kept in {shown(str(path.parent))} "
            f"({reason(error)}), so the next start decodes them again."
        )
    else:
        note(f"kept for the next start in {shown(str(path))} ({memory.gigabytes(size)}).")


def _family(path: Path) -> str:
    """How names of parts of this cache start: with the machine's name, for several may share a home folder."""
    return f"{path.name}.{re.sub(r'[^A-Za-z0-9-]', '_', platform.node())}."


def _sweep(path: Path) -> None:
    """Removes parts of this cache whose writers are gone; they are as large as the whole."""
    start = _family(path)
    for part in path.parent.glob(f"{start}*.tmp"):
        number = part.name[len(start) :].split(".")[0]
        if number.isdecimal() and not _running(int(number)):
            with contextlib.suppress(OSError):
                part.unlink()


def _running(process: int) -> bool:
    if os.name != "posix":  # there the call below would end the process
        return True
    try:
        os.kill(process, 0)  # no signal; asks whether there is one to receive it
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _dump(file: BinaryIO, key: str, contents: Contents) -> None:
    digest = hashlib.sha256()

    def put(data: bytes | memoryview) -> None:
        for start in range(0, len(data), STEP):
            piece = data[start : start + STEP]
            digest.update(piece)
            file.write(piece)

    head = {
        "fingerprint": key,
        "train": contents.train.images.shape,
        "test": contents.test.images.shape,
        "left_out": contents.left_out,
        "remark": contents.remark,
    }
    put(MAGIC + json.dumps(head).encode() + b"\n")
    for split in (contents.train, contents.test):
        for array in (split.images, split.labels.astype(LABEL)):
            put(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    file.write(digest.digest())


def _parse(file: BinaryIO, key: str, side: int | None) -> Contents | None:
    magic, line = file.readline(len(MAGIC)), file.readline(HEADER_LIMIT)
    digest = hashlib.sha256(magic + line)
    try:
        head: dict[str, Any] = json.loads(line)
        shapes = [tuple(int(n) for n in head[part]) for part in ("train", "test")]
        left_out = tuple(str(name) for name in head["left_out"])
        found, remark = head["fingerprint"], str(head.get("remark", ""))  # earlier versions have no remark
        usual = magic == MAGIC and all(len(shape) == 4 and min(shape) > 0 for shape in shapes)
    except (ValueError, KeyError, TypeError):  # not UTF-8, not JSON, or not what `write` wrote
        usual = False
    if not usual:
        raise _Unusable("it is damaged")
    if found != key:
        raise _Unusable("the images, or the way to read them, have changed since")
    if side is not None and any(shape[1:3] != (side, side) for shape in shapes):
        return None
    sizes = [int(np.prod(shape, dtype=object)) + LABEL.itemsize * shape[0] for shape in shapes]
    # Compared before memory is taken: so damaged numbers cannot ask for more than the file has.
    if len(magic) + len(line) + sum(sizes) + digest.digest_size != os.fstat(file.fileno()).st_size:
        raise _Unusable("it is truncated")
    memory.require(sum(sizes), "the decoded images", "use fewer images, or smaller ones (--data.image-size)")
    splits = []
    for shape in shapes:
        images, labels = np.empty(shape, np.uint8), np.empty(shape[0], LABEL)
        for array in (images, labels):
            rest = array.reshape(-1).view(np.uint8).data
            while len(rest):
                piece = rest[:STEP]
                if file.readinto(piece) != len(piece):  # type: ignore[attr-defined]  # BinaryIO lacks it, files do not
                    raise _Unusable("it is truncated")
                digest.update(piece)
                rest = rest[STEP:]
        splits.append(ArraySource(images, labels.astype(np.int32)))
    if file.read() != digest.digest():
        raise _Unusable("it is damaged")
    return Contents(splits[0], splits[1], left_out, remark)
