"""Contestants in processes of their own, timed in turn, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from experiments.benchmark.spec import Spec
from resnet_jax.errors import UserError

# On a GPU several processes share the memory that JAX would otherwise take three quarters of at its start.
SHARED_DEVICE = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


@dataclass
class Outcome:
    """Of one contestant in one case."""

    contestant: str
    seconds: list[float] = field(default_factory=list)
    """Of one step, a number for each round."""
    parts: dict[str, list[float]] = field(default_factory=dict)
    """Of compiling: what `seconds` is the sum of."""
    loss: float | None = None
    """That the last step reported: contestants that compute the same are near each other."""
    facts: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    failed: str = ""
    """Why it has no times, where it has none."""


class Failed(Exception):
    """A contestant's process ended before its time; the message is its last line on standard error."""


class Worker:
    """The process of a contestant."""

    def __init__(self, spec: Spec) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.benchmark.worker", spec.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**SHARED_DEVICE, **os.environ},
        )

    def read(self) -> dict[str, Any]:
        """Its next answer.

        Raises:
          Failed: there is none.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            said = [text.strip() for text in self._errors.read().splitlines() if text.strip()]
            raise Failed(said[-1].removeprefix("error: ") if said else f"its process ended with status {status}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, word: str) -> dict[str, Any]:
        """Its answer to "go" or "end".

        Raises:
          Failed: there is none.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `read` says why
        return self.read()

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


@contextlib.contextmanager
def _running(spec: Spec) -> Iterator[Worker]:
    worker = Worker(spec)
    try:
        yield worker
    finally:
        worker.close()


def race(specs: list[Spec], repeats: int, tell: Callable[[str], None]) -> list[Outcome]:
    """Each contestant's times: `repeats` rounds, in each of which all go once, in turn; another one begins each round.

    Contestants are started one after another, since compilers choose algorithms by the clock. One that fails is told of
    and left behind; the others go on.
    """
    outcomes = [Outcome(spec.contestant) for spec in specs]
    if specs and specs[0].task == "compile":
        for _ in range(repeats):
            for spec, outcome in zip(specs, outcomes, strict=True):
                if not outcome.failed:
                    _compile_once(spec, outcome, tell)
        return outcomes
    with contextlib.ExitStack() as stack:
        entered: list[tuple[Outcome, Worker, int]] = []
        for spec, outcome in zip(specs, outcomes, strict=True):
            worker = stack.enter_context(_running(spec))
            with _failure_of(outcome, tell):
                ready = worker.read()
                outcome.environment = ready["environment"]
                entered.append((outcome, worker, ready["steps"]))
        for turn in range(repeats):
            at = turn % max(len(entered), 1)
            for outcome, worker, steps in entered[at:] + entered[:at]:
                if not outcome.failed:
                    with _failure_of(outcome, tell):
                        answer = worker.ask("go")
                        outcome.seconds.append(answer["seconds"] / steps)
                        outcome.loss = answer["loss"]
        for outcome, worker, _ in entered:
            if not outcome.failed:
                with _failure_of(outcome, tell):
                    outcome.facts = worker.ask("end")["facts"]
    return outcomes


def answer(spec: Spec) -> dict[str, Any]:
    """All that a process has to say which measures by itself.

    Raises:
      UserError: it failed.
    """
    with _running(spec) as worker:
        try:
            return worker.read()
        except Failed as failure:
            raise UserError(f"{spec.contestant}: {failure}") from failure


def _compile_once(spec: Spec, outcome: Outcome, tell: Callable[[str], None]) -> None:
    with _failure_of(outcome, tell), _running(spec) as worker:
        answer = worker.read()
        outcome.environment = answer["environment"]
        seconds = answer["seconds"]
        outcome.seconds.append(seconds.pop("total"))
        for part, value in seconds.items():
            outcome.parts.setdefault(part, []).append(value)


@contextlib.contextmanager
def _failure_of(outcome: Outcome, tell: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except Failed as failure:
        outcome.failed = str(failure)
        tell(f"{outcome.contestant} is left out: {failure}")
