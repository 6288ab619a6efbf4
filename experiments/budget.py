"""The time limit of a sweep: whether a run may be started, and when a running one must stop."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from time import monotonic

from experiments.estimate import Clock
from resnet_jax.config import ExperimentConfig
from resnet_jax.errors import UserError

DEADLINE = "RESNET_JAX_DEADLINE"
"""Environment variable with the end of the budget, by the monotonic clock of the machine. A sweep reads it after its
restart for malloc, and in the processes that it starts."""


@dataclass(frozen=True)
class Budget:
    """The time that is left for a sweep."""

    deadline: float | None
    """The end of the time, by `time.monotonic`; None: no limit."""
    clock: Clock
    """Estimates how long runs take."""

    @classmethod
    def of(cls, seconds: float | None, clock: Clock, *, inherited: bool) -> Budget:
        """The budget of a sweep that begins now, or of one that another process began.

        `inherited`: take the deadline from the environment, if there is one, and keep it there.

        Raises:
          UserError: `seconds` is not a number above 0.
        """
        if seconds is None:
            return cls(None, clock)
        if not (seconds > 0.0 and math.isfinite(seconds)):
            raise UserError(f"budget: got {seconds}; legal: seconds, a number above 0.")
        end = monotonic() + seconds
        return cls(float(os.environ.setdefault(DEADLINE, repr(end))) if inherited else end, clock)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables for processes of the same sweep."""
        return {} if self.deadline is None else {DEADLINE: repr(self.deadline)}

    def allows(self, name: str, config: ExperimentConfig) -> bool:
        """Whether a run is expected to end in time, by the speed of finished runs.

        If no run has finished, a run may be started as long as there is time.
        """
        if self.deadline is None:
            return True
        seconds = self.clock.by_speed_seen(name, config)
        return monotonic() + (seconds or 0.0) < self.deadline
