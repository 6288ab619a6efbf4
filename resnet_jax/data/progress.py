"""Progress bars for work on many images."""

import contextlib
from collections.abc import Callable, Iterator

import rich
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from resnet_jax.text import Note


def columns() -> Progress:
    """Progress bars on rich's shared console; hidden if the console is not a terminal."""
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
    """Shows a progress bar for `count` images on a terminal; elsewhere, `note` gets one line at the start.

    Yields a function. Call it with the number of images that were processed since its last call.
    """
    bars = columns()
    if bars.disable:
        note(f"{title}: {count:,} images.")
    task = bars.add_task(title, total=count)
    with bars:
        yield lambda more: bars.advance(task, more)
