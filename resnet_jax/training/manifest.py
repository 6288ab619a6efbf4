"""The manifest of a checkpoint: what was written, with the checksums that find what went bad since."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from resnet_jax.text import reason

MANIFEST = "manifest"


class Damaged(Exception):
    """A checkpoint is not what was written; the message says in what."""


def sealed(facts: dict[str, Any]) -> bytes:
    """The content of a manifest: a line with the SHA-256 of the rest, and the rest."""
    text = json.dumps(facts, indent=1).encode() + b"\n"
    return _seal(text) + text


def unsealed(manifest: Path) -> dict[str, Any]:
    """The facts in a manifest.

    Raises:
      Damaged: it is missing, or is not what was written.
    """
    try:
        content = manifest.read_bytes()
    except OSError as error:
        raise Damaged(f"{MANIFEST}: {reason(error)}") from error
    text = content[len(_seal(b"")) :]
    if content != _seal(text) + text:
        raise Damaged(f"{MANIFEST} is not what was written")
    facts: dict[str, Any] = json.loads(text)
    return facts


def digests(checkpoint: Path) -> dict[str, str]:
    """SHA-256 of each file of a checkpoint but the manifest, by its path in the checkpoint."""
    files = sorted(p for p in checkpoint.rglob("*") if p.is_file() and p != checkpoint / MANIFEST)
    return {str(p.relative_to(checkpoint)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def flush(folder: Path) -> None:
    """Flushes a folder and all in it to the disk, so that a power cut after the rename finds them."""
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
