"""Makes passages of the documents from the code and the committed records: tables, and numbers within sentences.

A passage stands between two markers:

    <!-- begin: KIND WORD... -->text<!-- end -->

KIND is the name of a function in one of the modules here. The function makes the text from the words. The markers of a
table are on separate lines. `python -m experiments.documents` renews all passages, and a test finds outdated ones.
"""

import inspect
import re
import typing
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
    and typing.get_type_hints(function)["return"] is str
}
"""The public functions of these modules that return text, by their names with hyphens."""
PASSAGE = re.compile(r"<!-- begin: (?P<what>[^>]*?)\s*-->(?P<text>.*?)<!-- end -->", re.DOTALL)


def renewed(page: str, name: str) -> str:
    """Returns the text of a page with all passages renewed; `name` is the page's name for error messages.

    Raises:
      UserError: a passage cannot be made, a marker is missing, or Markdown would misread the position of a marker.
    """

    def renew(found: re.Match[str]) -> str:
        text = made(found["what"], name)
        text = f"\n{text}\n" if found["text"].startswith("\n") else text
        return f"<!-- begin: {found['what']} -->{text}<!-- end -->"

    _check_markers(page, name)
    return PASSAGE.sub(renew, page)


def stale(page: str, name: str) -> Iterator[str]:
    """Yields a sentence for each outdated passage of a page. Raises UserError as `renewed` does."""
    for before, after in zip(PASSAGE.finditer(page), PASSAGE.finditer(renewed(page, name)), strict=True):
        if before[0] != after[0]:
            table = before["text"].startswith("\n")
            yield f"{name}: {before['what']}: " + ("stale" if table else f"{before['text']!r} is now {after['text']!r}")


def made(what: str, name: str) -> str:
    """Makes the text of a passage.

    Args:
      what: the words in the begin marker: the kind of the passage, and the arguments of its function.
      name: name of the page, for error messages.

    Raises:
      UserError: the kind is unknown, or the arguments are not legal for this kind.
    """
    kind, *words = what.split()
    if kind not in KINDS:
        raise UserError(f"{name}: {what}: got the kind {kind!r}; {nearest(kind, KINDS)}")
    try:
        return KINDS[kind](*words)
    except (TypeError, KeyError, ValueError, OSError) as error:
        raise UserError(f"{name}: {what}: the passage cannot be made ({error}).") from error


def _check_markers(page: str, name: str) -> None:
    rest = PASSAGE.sub("", page)
    if "<!-- begin:" in rest or "<!-- end -->" in rest:
        raise UserError(f"{name}: a marker is missing; legal: a begin marker, then its end marker.")
    for found in PASSAGE.finditer(page):
        alone = found["text"].startswith("\n")
        # Markdown reads a line that begins with a comment as HTML, and ends the paragraph there.
        if page[: found.start()].endswith("\n") != alone:
            where = "the markers of a table must be on separate lines; the marker of a number must not begin a line"
            raise UserError(f"{name}: {found['what']}: {where}.")


def renew(page: Path) -> bool:
    """Renews the passages in a file, and returns whether the file changed. Raises UserError as `renewed` does."""
    text = page.read_text(encoding="utf-8")
    new = renewed(text, page.name)
    if new != text:
        write_atomically(page, new)
    return new != text
