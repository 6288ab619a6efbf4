"""A time limit for a sweep: which runs may still be started, and when the one that is running has to stop."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from time import monotonic

from experiments.estimate import Clock
from resnet_jax.config import ExperimentConfig
from resnet_jax.errors import UserError

DEADLINE = "RESNET_JAX_DEADLINE"
"""Variable of the environment: when the budget ends, by the clock that all processes of a machine share. A sweep reads
it where it begins anew for its malloc, and in the processes that it starts."""


@dataclass(frozen=True)
class Budget:
    """What is left of a sweep's time."""

    deadline: float | None
    """When the time is up, by `time.monotonic`; None: there is no limit."""
    clock: Clock
    """Knows how long runs take."""

    @classmethod
    def of(cls, seconds: float | None, clock: Clock, *, inherited: bool) -> Budget:
        """The budget of a sweep that begins now, or that this process carries on.

        `inherited`: take the deadline from the environment, where it is, and leave it there.

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
        """What a process that carries the sweep on is told."""
        return {} if self.deadline is None else {DEADLINE: repr(self.deadline)}

    def allows(self, name: str, config: ExperimentConfig) -> bool:
        """Whether a run ends in time, by the speed seen so far.

        Where no run has finished no speed was seen: then a run is started as long as there is time.
        """
        if self.deadline is None:
            return True
        seconds = self.clock.by_speed_seen(name, config)
        return monotonic() + (seconds or 0.0) < self.deadline
