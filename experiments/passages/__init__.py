"""Passages of the documents that follow from the code and the committed records: tables, and numbers in sentences.

A passage stands between two markers, of which the first says what it is:

    <!-- begin: KIND WORD... -->text<!-- end -->

A table has its markers on lines of their own. KIND is the name of a function in one of the modules here, which makes
the text from the words. `python -m experiments.documents` renews all passages; a test says which are stale.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.passages import ingredients, instruments, mistakes, numbers, processes, tables
from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically
from resnet_jax.text import nearest

KINDS: dict[str, Callable[..., str]] = {
    name.replace("_", "-"): function
    for module in (tables, numbers, instruments, processes, mistakes, ingredients)
    for name, function in vars(module).items()
    if inspect.isfunction(function)
    and function.__module__ == module.__name__
    and not name.startswith("_")
    and function.__annotations__["return"] == "str"
}
"""The public functions of these modules that return a text, by their names with hyphens."""
PASSAGE = re.compile(r"<!-- begin: (?P<what>[^>]*?)\s*-->(?P<text>.*?)<!-- end -->", re.DOTALL)


def renewed(page: str, name: str) -> str:
    """Returns the text of a page with all passages renewed; messages call the page `name`.

    Raises:
      UserError: a passage cannot be made, a marker has no counterpart, or Markdown would misread its position.
    """

    def renew(found: re.Match[str]) -> str:
        text = made(found["what"], name)
        text = f"\n{text}\n" if found["text"].startswith("\n") else text
        return f"<!-- begin: {found['what']} -->{text}<!-- end -->"

    _check_markers(page, name)
    return PASSAGE.sub(renew, page)


def stale(page: str, name: str) -> Iterator[str]:
    """Yields a sentence for each passage of a page that is out of date; raises as `renewed`."""
    for before, after in zip(PASSAGE.finditer(page), PASSAGE.finditer(renewed(page, name)), strict=True):
        if before[0] != after[0]:
            table = before["text"].startswith("\n")
            yield f"{name}: {before['what']}: " + ("stale" if table else f"{before['text']!r} is now {after['text']!r}")


def made(what: str, name: str) -> str:
    """The text of a passage.

    Raises:
      UserError: the kind is unknown, or the words do not fit the kind. The message names the page, `name`.
    """
    kind, *words = what.split()
    if kind not in KINDS:
        raise UserError(f"{name}: {what}: got the kind {kind!r}; {nearest(kind, KINDS)}")
    try:
        return KINDS[kind](*words)
    except (TypeError, KeyError, ValueError, OSError) as error:
        raise UserError(f"{name}: {what}: cannot be made ({error}).") from error


def _check_markers(page: str, name: str) -> None:
    rest = PASSAGE.sub("", page)
    if "<!-- begin:" in rest or "<!-- end -->" in rest:
        raise UserError(f"{name}: a marker is missing; legal: a begin marker, then its end marker.")
    for found in PASSAGE.finditer(page):
        alone = found["text"].startswith("\n")
        # Markdown takes a line that begins with a comment for HTML, and ends the paragraph there.
        if page[: found.start()].endswith("\n") != alone:
            where = "the markers of a table need lines of their own; the marker of a number must not begin a line"
            raise UserError(f"{name}: {found['what']}: {where}.")


def renew(page: Path) -> bool:
    """Renews a page's passages in its file; returns whether it changed. Raises as `renewed`."""
    text = page.read_text(encoding="utf-8")
    new = renewed(text, page.name)
    if new != text:
        write_atomically(page, new)
    return new != text
