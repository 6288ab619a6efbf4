"""The speed of a run, and the time that it waits for images."""

import time
from collections.abc import Callable


class Pace:
    """Measures the speed of training between two evaluations."""

    def __init__(self, waited_s: Callable[[], float | None]) -> None:
        """`waited_s` returns the seconds that the run has waited for images so far; None if they are in memory."""
        self._waited_s = waited_s
        self.begin(0)

    def begin(self, step: int) -> None:
        """Begins an interval; `step` is the number of completed steps."""
        self._start, self._step, self._waited_before = time.monotonic(), step, self._waited_s() or 0.0

    def seconds(self) -> float:
        """Seconds since the interval began."""
        return time.monotonic() - self._start

    def rate(self, step: int) -> float:
        """Steps per second since the interval began; `step` is the number of completed steps."""
        return (step - self._step) / max(self.seconds(), 1e-9)

    def waiting(self) -> float | None:
        """The share of the interval in which the run waited for images, 0 to 1; None if they are in memory."""
        waited = self._waited()
        return None if waited is None else min(waited / max(self.seconds(), 1e-9), 1.0)

    def timing(self) -> dict[str, float]:
        """Seconds since the interval began ("train_s"), and seconds of waiting for streamed images ("input_s")."""
        waited = self._waited()
        return {"train_s": self.seconds()} | ({} if waited is None else {"input_s": waited})

    def _waited(self) -> float | None:
        waited = self._waited_s()
        return None if waited is None else waited - self._waited_before
