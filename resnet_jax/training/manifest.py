"""The manifest of a checkpoint: a file with facts about it, and with checksums that reveal later damage."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from resnet_jax.text import reason

MANIFEST = "manifest"


class Damaged(Exception):
    """A checkpoint has changed since it was written. The message names the file or leaf that has changed."""


def sealed(facts: dict[str, Any]) -> bytes:
    """The content of a manifest file: `facts` as JSON, after one line with the SHA-256 of this JSON."""
    text = json.dumps(facts, indent=1).encode() + b"\n"
    return _seal(text) + text


def unsealed(manifest: Path) -> dict[str, Any]:
    """Reads the facts of a manifest file.

    Raises:
      Damaged: the file is missing, or its content does not match the SHA-256 in its first line.
    """
    try:
        content = manifest.read_bytes()
    except OSError as error:
        raise Damaged(f"{MANIFEST}: {reason(error)}") from error
    text = content[len(_seal(b"")) :]
    if content != _seal(text) + text:
        raise Damaged(f"{MANIFEST} has changed")
    facts: dict[str, Any] = json.loads(text)
    return facts


def digests(checkpoint: Path) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint except the manifest, by the file's path inside the checkpoint."""
    files = sorted(p for p in checkpoint.rglob("*") if p.is_file() and p != checkpoint / MANIFEST)
    return {str(p.relative_to(checkpoint)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def flush(folder: Path) -> None:
    """Flushes a folder and all that is in it to the disk, so that it survives a power cut."""
    for path in [*folder.rglob("*"), folder]:
        flush_entry(path)


def flush_entry(path: Path) -> None:
    """Flushes one file, or the names in one folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _seal(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode() + b"\n"
