"""The manifest of a checkpoint: its content, with checksums that reveal later damage."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from resnet_jax.text import reason

MANIFEST = "manifest"


class Damaged(Exception):
    """A checkpoint has changed since it was written; the message names the change."""


def sealed(facts: dict[str, Any]) -> bytes:
    """The text of a manifest: a line with the SHA-256 of the rest, and the rest."""
    text = json.dumps(facts, indent=1).encode() + b"\n"
    return _seal(text) + text


def unsealed(manifest: Path) -> dict[str, Any]:
    """The facts in a manifest.

    Raises:
      Damaged: it is missing, or has changed since it was written.
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
    """SHA-256 of each file of a checkpoint but the manifest, by its path in the checkpoint."""
    files = sorted(p for p in checkpoint.rglob("*") if p.is_file() and p != checkpoint / MANIFEST)
    return {str(p.relative_to(checkpoint)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def flush(folder: Path) -> None:
    """Flushes a folder and its content to the disk, so that they survive a power cut after the rename."""
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
