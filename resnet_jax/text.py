"""Functions that compose messages for the user."""

import difflib
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from resnet_jax.errors import UserError

Note = Callable[[str], None]
"""A function that shows a sentence to the user."""
LONGEST = 200
NAMED = 3
"""Number of names that a message lists; it gives only the count of the others."""


def reason(error: BaseException) -> str:
    """The reason of an error, as part of a sentence: at most 200 characters, without a full stop.

    For an OSError, it is the operating system's text. For other errors, it is the first line of the message. Without a
    message, it is the exception's type.
    """
    system = error.strerror if isinstance(error, OSError) else None
    lines = (system or str(error)).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[0].split())[:LONGEST].rstrip(" .:")


def sentence(error: BaseException) -> str:
    """One line about an error.

    For a UserError, it is the message. For an OSError, it is "FILE: reason". For other errors, it is
    "ExceptionType: reason".
    """
    if isinstance(error, UserError | KeyboardInterrupt):
        return str(error).strip().split("\n")[0] or "interrupted"
    where = error.filename if isinstance(error, OSError) else type(error).__name__
    return f"{where}: {reason(error)}" if where else reason(error)


def nearest(name: str, legal: Iterable[str]) -> str:
    """The end of a message about an unknown name: a similar legal name, or all legal names if none is similar."""
    close = difflib.get_close_matches(name, legal := list(legal), n=1)
    return f"did you mean {close[0]!r}?" if close else f"legal: {', '.join(sorted(legal))}."


def some(names: Sequence[str], most: int = NAMED) -> str:
    """The first `most` names of a list and the number of the others, as in "a, b, c and 4 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shown(path: str) -> str:
    """Converts a path to text that any terminal can print; bytes that are not UTF-8 become replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")


def composed(name: str) -> str:
    """Converts a name to Unicode's composed form (NFC); macOS may store an accented letter as two characters."""
    return unicodedata.normalize("NFC", name)


def plural(number: int, noun: str) -> str:
    """Formats a number with its noun, such as "1 seed" or "1,000 seeds"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
