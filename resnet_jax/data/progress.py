"""Bars of progress, and that of reading many images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import rich
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from resnet_jax.text import Note


def columns() -> Progress:
    """Bars on rich's shared console, where what already shows something live is joined; none but on a terminal."""
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
def progress(passes: Sequence[str], count: int, line: str, note: Note) -> Iterator[Callable[[int], None]]:
    """A bar for each pass over `count` images on a terminal; elsewhere `line`, told at the start.

    Gives what is called with the number of images that are done, in one pass after the other.
    """
    bars = columns()
    if bars.disable:
        note(line)
    done = 0
    tasks = [bars.add_task(title, total=count, start=i == 0) for i, title in enumerate(passes)]

    def advance(more: int) -> None:
        nonlocal done
        task = tasks[min(done // count, len(tasks) - 1)]
        bars.start_task(task)
        bars.advance(task, more)
        done += more

    with bars:
        yield advance
