"""How fast a run trains, and how long it waits for its images."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Measures stretches of training with no evaluation between."""

    def __init__(self, waited_s: Callable[[], float | None]) -> None:
        """`waited_s` gives the seconds that the run has waited for images so far; None where they lie in memory."""
        self._waited_s = waited_s
        self.begin(0)

    def begin(self, step: int) -> None:
        """A stretch begins, after `step` steps."""
        self._start, self._step, self._waited_before = time.monotonic(), step, self._waited_s() or 0.0

    def seconds(self) -> float:
        """Since the stretch began."""
        return time.monotonic() - self._start

    def rate(self, step: int) -> float:
        """Steps a second since the stretch began, where `step` are done in all."""
        return (step - self._step) / max(self.seconds(), 1e-9)

    def waiting(self) -> float | None:
        """The share of the stretch spent waiting for images, 0 to 1; None where they lie in memory."""
        waited = self._waited()
        return None if waited is None else min(waited / max(self.seconds(), 1e-9), 1.0)

    def timing(self) -> dict[str, float]:
        """Seconds of the stretch and, where images are decoded on demand, those of them spent waiting."""
        waited = self._waited()
        return {"train_s": self.seconds()} | ({} if waited is None else {"input_s": waited})

    def _waited(self) -> float | None:
        waited = self._waited_s()
        return None if waited is None else waited - self._waited_before
