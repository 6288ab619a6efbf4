"""The display of a run: a live display on a terminal, and plain lines in logs and pipes."""

import time
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, RenderableType, RenderHook, RenderResult
from rich.control import Control
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import ControlType, Segment
from rich.text import Text

from resnet_jax.record import MetricsLine
from resnet_jax.training.observers.base import Observer, Step

WIDEST_BAR, NARROWEST_BAR = 30, 4
BESIDE_THE_BAR = 41
"""Columns for the completed and total numbers of steps, seven digits each, and for the two times."""


class Lines(Observer):
    """Prints messages and the metrics of epochs as plain lines, for logs and pipes.

    After an epoch, a line of metrics is printed only if the previous line of metrics is at least `seconds` seconds old.
    At the end of the run, a line is always printed.
    """

    def __init__(self, console: Console, total: int, seconds: float = 10.0) -> None:
        self._console, self._total, self._seconds = console, total, seconds
        self._last, self._waited = float("-inf"), ""

    def note(self, text: str) -> None:
        self._print(text)

    def step(self, step: Step) -> None:
        self._waited = "" if step.waited is None else f", {step.waited:.0%} of the time waiting for images"

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        now = time.monotonic()
        if now - self._last < self._seconds and line.step < self._total:
            return
        self._last = now
        self._print(f"{_summary(line, self._total)}, {images_per_second:,.0f} images/s{self._waited}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Lines(Progress, RenderHook):
    """Three lines: the run's name, its progress bar and its numbers.

    In a terminal of less than 80 columns the bar is shorter, and the numbers take more lines.
    """

    def __init__(self, bar: BarColumn, *columns: ProgressColumn, console: Console) -> None:
        self._bar = bar
        self._drawn: list[int] = []  # the columns that each line took when it was drawn
        super().__init__(bar, *columns, console=console, transient=True)

    def start(self) -> None:
        self.console.push_render_hook(self)
        super().start()

    def stop(self) -> None:
        if self.live.is_started:
            super().stop()
            self.console.pop_render_hook()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Erases rows of the display that rich does not erase.

        When a terminal becomes narrower, it may break a line into several rows. Rich still counts this line as one row.
        """
        width = max(1, self.console.width)
        more = sum(max(0, columns - 1) // width for columns in self._drawn)
        up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
        return [Control(*up * more), *renderables]

    def get_renderable(self) -> RenderableType:
        return self

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(Group(*self.get_renderables()), options, pad=False)
        self._drawn = [Segment.get_line_length(line) for line in lines]
        for line in lines:
            yield from line
            yield Segment.line()

    def get_renderables(self) -> Iterator[RenderableType]:
        for task in self.tasks:
            yield Text(task.description, style="bold", no_wrap=True, overflow="ellipsis")
            self._bar.bar_width = max(NARROWEST_BAR, min(WIDEST_BAR, self.console.width - BESIDE_THE_BAR))
            yield self.make_tasks_table([task])
            # In a narrow terminal text wraps to the next line, so that no digit is cut off.
            for line in Text(task.fields["numbers"]).wrap(self.console, max(1, self.console.width - 2)):
                yield Text("  ") + line


class Live(Observer):
    """A progress bar on a terminal, with step, time left, learning rate, loss, error and images per second.

    It is drawn from `start` until `close`.
    """

    def __init__(self, console: Console, total: int, title: str) -> None:
        self._progress = _Lines(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(title, total=total, numbers="starting ...")
        self._test = ""

    def start(self) -> None:
        self._progress.start()

    def note(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def phase(self, name: str) -> None:
        self._progress.update(self._task, numbers=f"{name} ...")

    def step(self, step: Step) -> None:
        waited = "" if step.waited is None else f"  waiting {step.waited:.0%}"  # for images to be decoded
        numbers = (
            f"rate {step.rate:g}  loss {step.batch.mean_loss:.3f}  error {step.batch.error:6.1%}  "
            f"{step.images_per_second:,.0f} images/s{waited}{self._test}"
        )
        self._progress.update(self._task, completed=step.number, numbers=numbers)

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        self._test = _evaluated(line, "  {} {:.1%}") or self._test

    def close(self) -> None:
        self._progress.stop()


def _summary(line: MetricsLine, total: int) -> str:
    test = _evaluated(line, ", {} error {:.2%}")
    return (
        f"step {line.step}/{total}, epoch {line.epoch}, rate {line.learning_rate:g}, "
        f"loss {line.running_loss:.4f}, error {line.running_error:.2%}{test}"
    )


def _evaluated(line: MetricsLine, form: str) -> str:
    found = (("validation", line.validation_error), ("test", line.test_error))
    return "".join(form.format(name, error) for name, error in found if error is not None)
