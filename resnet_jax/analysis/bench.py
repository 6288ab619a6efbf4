"""What an instrument is given besides the net: how to show progress, and a place for what it has so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

Advance = Callable[[], None]


@contextmanager
def _silent(total: int, what: str) -> Iterator[Advance]:
    yield lambda: None


@dataclass(frozen=True)
class Bench:
    """Where an instrument works."""

    progress: Callable[[int, str], AbstractContextManager[Advance]] = _silent
    """Of a number of parts and what is measured: gives what is called when a part is done."""
    scratch: Path | None = None
    """File for what is worth keeping of an interrupted measurement; None: nothing is kept."""
