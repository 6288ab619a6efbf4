"""Passages of the documents that follow from the code and the committed records: tables, and numbers in sentences.

A passage stands between two markers, of which the first says what it is:

    <!-- begin: KIND WORD... -->text<!-- end -->

A table has its markers on lines of their own. KIND is the name of a function in one of the modules beside this one,
which makes the text from the words. `python -m experiments.documents` renews all passages; a test says which are stale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.passages import instruments, mistakes, numbers, tables
from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically
from resnet_jax.text import nearest

KINDS: dict[str, Callable[..., str]] = {
    function.__name__.replace("_", "-"): function
    for module in (tables, numbers, instruments, mistakes)
    for function in module.KINDS
}
PASSAGE = re.compile(r"<!-- begin: (?P<what>[^>]*?)\s*-->(?P<text>.*?)<!-- end -->", re.DOTALL)


def renewed(page: str, name: str) -> str:
    """The text of a page with all its passages as they are today; `name` is the page's, for messages.

    Raises:
      UserError: a passage cannot be made, or a marker has no other or stands where Markdown would misread it.
    """

    def renew(found: re.Match[str]) -> str:
        text = made(found["what"], name)
        text = f"\n{text}\n" if found["text"].startswith("\n") else text
        return f"<!-- begin: {found['what']} -->{text}<!-- end -->"

    _check_markers(page, name)
    return PASSAGE.sub(renew, page)


def stale(page: str, name: str) -> Iterator[str]:
    """A sentence for each passage of a page that is not what it would be today; raises as `renewed`."""
    for before, after in zip(PASSAGE.finditer(page), PASSAGE.finditer(renewed(page, name)), strict=True):
        if before[0] != after[0]:
            table = before["text"].startswith("\n")
            yield f"{name}: {before['what']}: " + ("stale" if table else f"{before['text']!r} is now {after['text']!r}")


def made(what: str, name: str) -> str:
    """The text of a passage.

    Raises:
      UserError: it is of no known kind, or its words are not such as its kind takes; `name` is the page's.
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
        raise UserError(f"{name}: a marker of a passage has no other; legal: begin and end in turn.")
    for found in PASSAGE.finditer(page):
        alone = found["text"].startswith("\n")
        # Markdown takes a line that begins with a comment for HTML, and ends the paragraph there.
        if page[: found.start()].endswith("\n") != alone:
            where = "markers of a table have lines of their own, and those of a number begin no line"
            raise UserError(f"{name}: {found['what']}: {where}.")


def renew(page: Path) -> bool:
    """Renews a page's passages in its file; returns whether it changed. Raises as `renewed`."""
    text = page.read_text(encoding="utf-8")
    new = renewed(text, page.name)
    if new != text:
        write_atomically(page, new)
    return new != text
