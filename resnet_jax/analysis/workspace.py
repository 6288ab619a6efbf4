"""What an instrument is given besides the net: a display of progress, and a file for what it has so far."""

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
class Workspace:
    """The display and the file of one measurement."""

    progress: Callable[[int, str], AbstractContextManager[Advance]] = _silent
    """Takes the number of parts and what is measured; gives a function to call after each part."""
    scratch: Path | None = None
    """File for what is worth keeping of an interrupted measurement; None: nothing is kept."""
