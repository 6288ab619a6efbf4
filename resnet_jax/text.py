"""Parts of messages."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from resnet_jax.errors import UserError

Note = Callable[[str], None]
"""A function that shows a sentence to the user."""
LONGEST = 200
NAMED = 3
"""Number of names that a message lists; the rest is counted."""


def reason(error: BaseException) -> str:
    """The reason of an error as part of a sentence: the system's text, else the first line of the message, else the
    type.

    At most 200 characters, without a full stop.
    """
    system = error.strerror if isinstance(error, OSError) else None
    lines = (system or str(error)).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[0].split())[:LONGEST].rstrip(" .:")


def sentence(error: BaseException) -> str:
    """An error in a line for people: a mistake as it is, any other error with its file or the name of its type."""
    if isinstance(error, UserError | KeyboardInterrupt):
        return str(error).strip().split("\n")[0] or "interrupted"
    where = error.filename if isinstance(error, OSError) else type(error).__name__
    return f"{where}: {reason(error)}" if where else reason(error)


def nearest(name: str, legal: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest legal name, or all legal names."""
    close = difflib.get_close_matches(name, legal := list(legal), n=1)
    return f"did you mean {close[0]!r}?" if close else f"legal: {', '.join(sorted(legal))}."


def some(names: Sequence[str], most: int = NAMED) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shown(path: str) -> str:
    """A path as text that any terminal can print: bytes that are not UTF-8 become replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS stores an e with an accent as two characters."""
    return unicodedata.normalize("NFC", name)
