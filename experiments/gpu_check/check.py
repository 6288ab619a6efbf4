"""Runs the parts of a check one after another, within a time limit. A part that fails does not stop the others."""

import math
import os
import time
from pathlib import Path

from experiments import jobs
from experiments.benchmark import race, results
from experiments.gpu_check import parts
from experiments.gpu_check.parts import Part, Race
from experiments.gpu_check.plan import FULL, SMALL
from resnet_jax.errors import UserError
from resnet_jax.files import write_json
from resnet_jax.text import Note

DONE, FAILED, CUT, LEFT_OUT = "done", "failed", "cut", "left out"
QUICK_COMPILATION = "--xla_backend_optimization_level=0"
"""XLA flag for a check on a CPU, where compilation takes most of the time and step times do not matter."""


class Check:
    """A check and its record, which is a benchmark record with further fields for the parts."""

    def __init__(self, command: str, out: Path, seconds: float = math.inf, only: tuple[str, ...] = ()) -> None:
        self.out, self.seconds, self.only = out, seconds, only
        self.start = time.monotonic()
        self.record = results.new_record(command, seconds=None if seconds == math.inf else seconds)
        self.record |= {"device": {}, "parts": [], "tests": [], "breakdown": []}

    def go(self, plan: tuple[Part, ...] | None, note: Note) -> None:
        """Runs all parts in order, and writes the record after each part.

        Args:
          plan: the parts; None: the plan `FULL` or `SMALL`, depending on the device that the first part finds.
          note: called with a line of text on the result of each part.
        """
        first, *rest = plan or FULL
        self._part(first, note)
        if plan is None:
            # If JAX did not start, the platform is unknown, but there may be a GPU.
            on_cpu = results.platform(self.record) == "cpu" and not (self.record["environment"] == {} and jobs.gpus())
            rest = list(SMALL[1:] if on_cpu else FULL[1:])
            if on_cpu:
                os.environ.setdefault("XLA_FLAGS", QUICK_COMPILATION)
        for part in rest:
            if not self.only or part.name in self.only:
                self._part(part, note)
        names = [first.name, *(part.name for part in rest)]
        for name in self.only:
            if name not in names:
                self._note(name, FAILED, f"this device has no such part; legal: {', '.join(names)}", 0.0)
                note(f"{name}: {FAILED}: this device has no such part")

    @property
    def failed(self) -> bool:
        """Whether a part failed. Parts that were left out or stopped for lack of time do not count."""
        return any(part["status"] == FAILED for part in self.record["parts"])

    def _part(self, part: Part, note: Note) -> None:
        begun = time.monotonic()
        left = self.start + self.seconds - begun
        if left < part.least:
            status, sentence = LEFT_OUT, f"{max(left, 0.0):.0f} s were left, and it takes {part.least:.0f} s or more"
        else:
            status, sentence = self._outcome(part, note)
        took = time.monotonic() - begun
        self._note(part.name, status, sentence, took)
        # The line names the net, because a part with the same name has a smaller net on a CPU.
        net = f"{part.net}, batch {part.batch_size}, " if isinstance(part, Race) else ""
        note(f"[{took:6.1f} s] {part.name}: {'' if status == DONE else f'{status}: '}{net}{sentence}")

    def _note(self, name: str, status: str, sentence: str, seconds: float) -> None:
        self.record["parts"].append(
            {"part": name, "status": status, "sentence": sentence, "seconds": round(seconds, 2)}
        )
        write_json(self.out, self.record)

    def _outcome(self, part: Part, note: Note) -> tuple[str, str]:
        try:
            sentence = part.run(self.record, self.start + self.seconds, lambda line: note(f"  {line}"))
        except (parts.Cut, race.Late) as cut:
            return CUT, str(cut)
        except parts.Absent as absent:
            return LEFT_OUT, str(absent)
        except (parts.PartFailed, UserError) as failure:
            return FAILED, str(failure)
        except Exception as defect:  # a bug in one part must not stop the next parts
            return FAILED, f"a defect of this check: {type(defect).__name__}: {defect}"
        return DONE, sentence
