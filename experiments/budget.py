"""The time limit of a sweep: decides whether a run may start, and when a run that has started must stop."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from time import monotonic

from experiments.estimate import Clock
from resnet_jax.config import ExperimentConfig
from resnet_jax.errors import UserError

DEADLINE = "RESNET_JAX_DEADLINE"
"""Environment variable with the deadline, a value of `time.monotonic()`. It keeps the deadline when a sweep restarts
itself (machine.tune_malloc), and passes it to the processes that the sweep starts."""


@dataclass(frozen=True)
class Budget:
    """The time limit of a sweep."""

    deadline: float | None
    """The end of the sweep, a value of `time.monotonic()`; None: no limit."""
    clock: Clock
    """Estimates how long runs take."""

    @classmethod
    def of(cls, seconds: float | None, clock: Clock, *, inherited: bool) -> Budget:
        """Sets a time limit of `seconds` from now; None: no limit.

        Args:
          seconds: wall-clock seconds for the whole sweep.
          clock: estimates how long runs take.
          inherited: True: use the deadline in the environment variable that the constant `DEADLINE` names. If this
            variable is not set, it gets the new deadline. False: do not use the variable.

        Raises:
          UserError: `seconds` is not a number above 0.
        """
        if seconds is None:
            return cls(None, clock)
        if not (seconds > 0.0 and math.isfinite(seconds)):
            raise UserError(f"budget: got {seconds}; legal: a number of seconds above 0.")
        end = monotonic() + seconds
        return cls(float(os.environ.setdefault(DEADLINE, repr(end))) if inherited else end, clock)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables for processes of the same sweep."""
        return {} if self.deadline is None else {DEADLINE: repr(self.deadline)}

    def allows(self, name: str, config: ExperimentConfig) -> bool:
        """Whether a run may start now.

        It may start if its estimated end is before the deadline. The estimate uses the times of finished runs; if no
        run has finished yet, it is enough that the deadline has not passed. Without a deadline every run may start.
        """
        if self.deadline is None:
            return True
        seconds = self.clock.by_speed_seen(name, config)
        return monotonic() + (seconds or 0.0) < self.deadline
