"""Progress bars."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import rich
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from resnet_jax.text import Note


def columns() -> Progress:
    """Progress bars on rich's shared console; hidden unless it is a terminal."""
    console = rich.get_console()
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextlib.contextmanager
def progress(title: str, count: int, note: Note) -> Iterator[Callable[[int], None]]:
    """A bar for work on `count` images on a terminal; elsewhere a line at the start.

    Gives what is called with the number of images that are done since the last call.
    """
    bars = columns()
    if bars.disable:
        note(f"{title}: {count:,} images.")
    task = bars.add_task(title, total=count)
    with bars:
        yield lambda more: bars.advance(task, more)
