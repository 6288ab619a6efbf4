"""Writes files atomically (completely or not at all), and computes short digests."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path, part: Path | None = None) -> Iterator[Path]:
    """Yields the name of a file to write. When the block ends without an exception, that file replaces `path`.

    The file is flushed to the disk before it replaces `path`, so a power cut leaves either the old or the new content.
    After an exception the new file is deleted.

    Args:
      path: the file to replace; its folder exists.
      part: the file to write, in the same folder. None: a hidden file with the process id in its name, and with the
        suffix of `path`, because some writers choose the format by the suffix.
    """
    temporary = part or path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file atomically (completely or not at all). Text is encoded as UTF-8.

    Raises:
      OSError: the file cannot be written. The error names `path`; an existing file is not changed.
    """
    try:
        with replacing(path) as part:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:  # the message shall name `path`, not the temporary file
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_json(path: Path, values: Any) -> None:
    """Writes values as indented JSON, atomically; raises the same errors as `write_atomically`."""
    write_atomically(path, json.dumps(values, indent=1) + "\n")


def short_digest(*parts: bytes | memoryview) -> str:
    """SHA-256 of the concatenated parts, shortened to 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
