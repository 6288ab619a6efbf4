"""What a run shows while it runs: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from resnet_jax.record import MetricsLine


class Display(Protocol):
    """What the loop tells of itself. Errors are fractions, rates are images per second."""

    def note(self, text: str) -> None:
        """Something worth knowing, once."""

    def step(self, step: int, *, rate: float, loss: float, error: float, images_per_second: float) -> None:
        """A step is known to be done, with its own batch's numbers."""

    def line(self, line: MetricsLine, images_per_second: float) -> None:
        """An epoch is done."""


class Silent:
    """Shows nothing."""

    def note(self, text: str) -> None: ...

    def step(self, step: int, *, rate: float, loss: float, error: float, images_per_second: float) -> None: ...

    def line(self, line: MetricsLine, images_per_second: float) -> None: ...


class Lines:
    """A line an epoch at most, and at most one every `seconds`: for logs and pipes."""

    def __init__(self, console: Console, total: int, seconds: float = 10.0) -> None:
        self._console, self._total, self._seconds = console, total, seconds
        self._last = float("-inf")

    def note(self, text: str) -> None:
        self._print(text)

    def step(self, step: int, *, rate: float, loss: float, error: float, images_per_second: float) -> None:
        pass

    def line(self, line: MetricsLine, images_per_second: float) -> None:
        now = time.monotonic()
        if now - self._last < self._seconds and line.step < self._total:
            return
        self._last = now
        self._print(f"{_summary(line, self._total)}, {images_per_second:,.0f} images/s")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Lines(Progress):
    """A run's name, where it is, and how it does, a line each: a terminal of 80 columns shows all."""

    def get_renderables(self) -> Iterator[RenderableType]:
        for task in self.tasks:
            yield Text(task.description, style="bold", no_wrap=True, overflow="ellipsis")
            yield self.make_tasks_table([task])
            yield Text(f"  {task.fields['numbers']}", no_wrap=True, overflow="ellipsis")


class Live:
    """A bar with step, rate, loss, error, images/s and the time left, as a context manager."""

    def __init__(self, console: Console, total: int, title: str) -> None:
        self._progress = _Lines(
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=total, numbers="compiling ...")
        self._test = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def step(self, step: int, *, rate: float, loss: float, error: float, images_per_second: float) -> None:
        numbers = f"rate {rate:g}  loss {loss:.3f}  error {error:6.1%}  {images_per_second:,.0f} images/s{self._test}"
        self._progress.update(self._task, completed=step, numbers=numbers)

    def line(self, line: MetricsLine, images_per_second: float) -> None:
        self._test = _evaluated(line, "  {} {:.1%}") or self._test


def _summary(line: MetricsLine, total: int) -> str:
    test = _evaluated(line, ", {} error {:.2%}")
    return (
        f"step {line.step}/{total}, epoch {line.epoch}, rate {line.learning_rate:g}, "
        f"loss {line.running_loss:.4f}, error {line.running_error:.2%}{test}"
    )


def _evaluated(line: MetricsLine, form: str) -> str:
    found = (("validation", line.validation_error), ("test", line.test_error))
    return "".join(form.format(name, error) for name, error in found if error is not None)
