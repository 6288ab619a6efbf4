"""Times contestants.

Each contestant has a process, and is timed once in each round. So a program that slows the machine for a while slows
all contestants alike.
"""

import contextlib
import json
import math
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from experiments.benchmark.spec import Spec
from resnet_jax.errors import UserError
from resnet_jax.text import Note

# Several processes share a GPU's memory; by default the first JAX process would take three quarters of it.
SHARED_DEVICE = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b(:|$)")
"""Pattern of the line in a traceback that names the exception."""
END_SECONDS = 10.0
"""Seconds after the deadline in which a process can still report its facts."""


@dataclass
class Outcome:
    """The times of one contestant in one case, or the reason why it failed."""

    contestant: str
    seconds: list[float] = field(default_factory=list)
    """Seconds of one step in each round."""
    parts: dict[str, list[float]] = field(default_factory=dict)
    """For compilation: the seconds of its parts (trace, lower, compile) in each round."""
    loss: float | None = None
    """Mean loss of the last step. Contestants that compute the same function have similar losses."""
    facts: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    failed: str = ""
    """Reason why the contestant has failed; empty if it has not."""
    late: bool = False
    """Whether the contestant failed because of the deadline."""


class Failed(UserError):
    """The process of a contestant ended too early, or did not answer before the deadline."""


class Late(Failed):
    """The process of a contestant did not answer before the deadline."""

    def __init__(self, who: str = "") -> None:
        super().__init__(f"{who}{': ' * bool(who)}the time was up before its process answered")


class Worker:
    """The process of a contestant. It answers each word on its standard input with a line of JSON."""

    def __init__(self, spec: Spec, environment: Mapping[str, str] = os.environ) -> None:
        """Starts the process with the variables of `environment` and of `SHARED_DEVICE`."""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.benchmark.worker", spec.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**SHARED_DEVICE, **environment},
        )

    def read(self, deadline: float = math.inf) -> dict[str, Any]:
        """Reads the next answer of the process. `deadline` is a value of time.monotonic().

        Raises:
          Failed: the process ended, or did not answer before the deadline.
        """
        assert self._process.stdout is not None
        # `select` does not see the buffer of `stdout`. The buffer is empty, because an answer is one line.
        if deadline < math.inf and not select.select([self._process.stdout], [], [], _left(deadline))[0]:
            raise Late
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            raise Failed(reason(self._errors.read(), status))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def tell(self, word: str) -> None:
        """Sends "go" or "end" to the process, without waiting."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `read` reports the reason

    def ask(self, word: str, deadline: float = math.inf) -> dict[str, Any]:
        """Sends a word and reads the answer; arguments and errors are those of `tell` and `read`."""
        self.tell(word)
        return self.read(deadline)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def reason(errors: str, status: int) -> str:
    """Why a process ended, in one line: the last exception on standard error, or else the last line there.

    Args:
      errors: the text that the process wrote on standard error.
      status: the exit status of the process. If signal number n ended the process, the status is -n.
    """
    if status < 0:
        name = signal.Signals(-status).name
        return f"its process was ended by {name}" + " (as when memory runs out)" * (name == "SIGKILL")
    said = [text.strip() for text in errors.splitlines() if text.strip()]
    named = [text for text in said if EXCEPTION.match(text)] or said
    return named[-1].removeprefix("error: ") if named else f"its process ended with status {status}"


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)


def race(
    specs: list[Spec],
    repeats: int,
    note: Note,
    *,
    deadline: float = math.inf,
    alive: int | None = None,
    start_together: bool = False,
    processes: int = 1,
) -> list[Outcome]:
    """Times contestants in rounds. In each round every contestant is timed once; the order changes between rounds.

    If a contestant fails, the other contestants are still timed.

    Args:
      specs: a spec for each contestant.
      repeats: number of rounds that each process of a contestant runs.
      note: called with a line of text for each contestant that fails.
      deadline: a value of time.monotonic(). Rounds that would end later are left out. A contestant that has not
        finished a round by then has failed.
      alive: largest number of contestants that are on the device at the same time; None: all. If there are more
        contestants, they are divided into groups of this size. A group starts when the group before has finished.
      start_together: True: the processes of a group start at the same time, which saves time. False: they start one
        after another. Some compilers time several algorithms to choose one; other programs would change these times.
      processes: number of processes that each contestant gets, one after the other. Times differ between processes,
        because each process has its memory at other addresses.

    Returns:
      The outcome of each contestant, in the order of `specs`.
    """
    outcomes = [Outcome(spec.contestant) for spec in specs]
    if specs and specs[0].task == "compile":
        for _ in range(repeats):
            for spec, outcome in zip(specs, outcomes, strict=True):
                if not outcome.failed:
                    _compile_once(spec, outcome, note, deadline)
        return outcomes
    size = max(alive or len(specs), 1)
    for first in range(0, len(specs), size):
        group = list(zip(specs, outcomes, strict=True))[first : first + size]
        for _ in range(processes):
            _race_group([(s, o) for s, o in group if not o.failed], repeats, note, deadline, start_together)
    return outcomes


def _race_group(
    group: list[tuple[Spec, Outcome]], repeats: int, note: Note, deadline: float, start_together: bool
) -> None:
    with contextlib.ExitStack() as stack:
        workers = (stack.enter_context(closing(Worker(spec))) for spec, _ in group)
        entered: list[tuple[Outcome, Worker, int]] = []
        for (_, outcome), worker in zip(group, list(workers) if start_together else workers, strict=True):
            with _failure_of(outcome, note):
                ready = worker.read(deadline)
                outcome.environment = ready["environment"]
                entered.append((outcome, worker, ready["steps"]))
        longest = 0.0
        for turn in range(repeats):
            if turn and _left(deadline) < longest:
                break  # earlier rounds still count
            begun = time.monotonic()
            at = turn % max(len(entered), 1)
            for outcome, worker, steps in entered[at:] + entered[:at]:
                if not outcome.failed:
                    with _failure_of(outcome, note):
                        answer = worker.ask("go", deadline)
                        outcome.seconds.append(answer["seconds"] / steps)
                        outcome.loss = answer["loss"]
            longest = max(longest, time.monotonic() - begun)
        for outcome, worker, _ in entered:
            if not outcome.failed:
                with _failure_of(outcome, note):
                    outcome.facts = worker.ask("end", max(deadline, time.monotonic() + END_SECONDS))["facts"]


def answer(spec: Spec, deadline: float = math.inf) -> dict[str, Any]:
    """Starts the process of a task in `worker.MEASURE_ALONE`; returns the only answer of this process.

    Raises:
      Late: the process did not answer before the deadline.
      UserError: the process failed for another reason.
    """
    with closing(Worker(spec)) as worker:
        try:
            return worker.read(deadline)
        except Late:
            raise Late(spec.contestant) from None
        except Failed as failure:
            raise UserError(f"{spec.contestant}: {failure}") from failure


def _compile_once(spec: Spec, outcome: Outcome, note: Note, deadline: float) -> None:
    with _failure_of(outcome, note), closing(Worker(spec)) as worker:
        answer = worker.read(deadline)
        outcome.environment = answer["environment"]
        seconds = answer["seconds"]
        outcome.seconds.append(seconds.pop("total"))
        for part, value in seconds.items():
            outcome.parts.setdefault(part, []).append(value)


@contextlib.contextmanager
def _failure_of(outcome: Outcome, note: Note) -> Iterator[None]:
    try:
        yield
    except Failed as failure:
        outcome.failed, outcome.late = str(failure), isinstance(failure, Late)
        note(f"{outcome.contestant} is left out: {failure}")
