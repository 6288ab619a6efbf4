"""The kinds of parts of a check. A part tests or measures, adds to the record, and returns its result in a sentence."""

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from experiments.benchmark import limits, race, results
from experiments.benchmark.options import runnable
from experiments.benchmark.race import Outcome
from experiments.benchmark.spec import FLAX, OURS, TORCH, Dtype, NetName, Spec, configure, step_config
from experiments.gpu_check import tests
from resnet_jax.config import override
from resnet_jax.text import Note

Record = dict[str, Any]
WARMUP = 2
"""Number of rounds before the first timed round."""
EAGER, COMPILED = TORCH


class PartFailed(Exception):
    """A part has failed, or has found a fault; the message explains it in a sentence."""


class Absent(PartFailed):
    """The library whose speed the part measures is not installed."""


class Cut(PartFailed):
    """The part did not end before the deadline."""


@dataclass(frozen=True)
class Part:
    """One part of a check."""

    name: str
    least: float
    """Seconds that the part needs at least, including the start of its processes. With less time it is not started."""

    def run(self, record: Record, deadline: float, note: Note) -> str:
        """Runs the part and adds its results to the record; returns the result in a sentence.

        Args:
          record: the record of the check.
          deadline: a value of time.monotonic(), at which the part is stopped.
          note: called with each remark, a line of text.

        Raises:
          PartFailed: the part failed or was stopped. The record has the results so far.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Device(Part):
    """Part that finds out the device, its driver and memory, versions, and the arithmetic of float32 products."""

    def run(self, record: Record, deadline: float, note: Note) -> str:
        answer = race.answer(Spec("device", "device", step_config("resnet-20", 1, "float32")), deadline)
        record["environment"], record["device"] = answer["environment"], answer["found"]
        found, versions = answer["found"], answer["environment"]["versions"]
        if found["nvidia_smi"] and results.platform(record) == "cpu":
            raise PartFailed(
                f"this machine has {found['nvidia_smi'].get('name', 'a GPU')}, and jax {versions['jax']} computes on "
                f"the CPU: install JAX for the GPU, such as jax[cuda13], or set JAX_PLATFORMS=cpu to check the CPU"
            )
        driver = found["nvidia_smi"].get("driver_version")
        unasked = [row for row in found["precision"]["float32"] if row["precision"] == "default"]
        float32 = ", ".join(f"{row['operation']} {row['arithmetic']}" for row in unasked)
        return (
            f"{answer['environment']['device']}{f', driver {driver}' if driver else ''}, jax {versions['jax']}; "
            f"float32 is computed as: {float32}; precision asked for: {found['precision']['config']}"
        )


@dataclass(frozen=True)
class DeviceTests(Part):
    """Part that runs those tests of tests/gpu that an expression selects."""

    select: str
    """Expression for pytest's -k."""
    processes: int
    """Number of processes that run tests at the same time."""

    def run(self, record: Record, deadline: float, note: Note) -> str:
        if why := tests.missing(tests.FOLDER):
            raise PartFailed(why)
        found = tests.run(self.select, self.processes, results.platform(record), tests.FOLDER, deadline)
        record["tests"] += [asdict(test) for test in found.tests]
        counts = Counter(test.status for test in found.tests)
        said = ", ".join(f"{number} {status}" for status, number in counts.items()) or "no test ended"
        bad = [f"{test.name.rpartition('::')[2]}: {test.message or test.status}" for test in found.tests if test.bad]
        sentence = f"{said}{'; ' * bool(bad)}{'; '.join(bad)}"
        if found.cut:
            raise Cut(f"the time was up; {sentence}")
        if bad or not found.tests or found.exit_status:
            lines = [line for line in found.output.splitlines() if line.strip()]
            raise PartFailed(sentence if bad else f"{said}: {lines[-1] if lines else 'pytest printed nothing'}")
        return sentence


@dataclass(frozen=True)
class Breakdown(Part):
    """Part that measures how much time of a train step the host and the device take."""

    net: NetName
    batch_size: int
    dtype: Dtype
    steps: int
    """Number of steps over which each figure is averaged."""
    steps_per_dispatch: int | Literal["auto"] = "auto"

    def run(self, record: Record, deadline: float, note: Note) -> str:
        config = step_config(self.net, self.batch_size, self.dtype)
        config = override(config, {"train.steps_per_dispatch": self.steps_per_dispatch})
        answer = race.answer(Spec("breakdown", "breakdown", config, steps=self.steps, warmup=WARMUP), deadline)
        said = []
        for found in answer["found"]:
            record["breakdown"].append({"net": self.net, "batch_size": self.batch_size, "dtype": self.dtype, **found})
            kernels = "no kernel seen" if found["kernels"] is None else f"kernels {1e3 * found['kernels']:.3f}"
            host = 1e3 * (found["batch"] + found["dispatch"] + found["report"])
            step = f"step {1e3 * found['step']:.3f}, {kernels}, host {host:.3f}"
            said.append(f"{step} at {found['steps_per_dispatch']} a dispatch")
        return f"{self.net}, batch {self.batch_size}, {self.dtype}, ms a step: {'; '.join(said)}"


@dataclass(frozen=True)
class Limits(Part):
    """Part that measures the highest rates of matrix products and of memory traffic."""

    dtypes: tuple[Dtype, ...]
    steps: int
    """Number of products, or of passes over memory, that are timed together."""
    repeats: int

    def run(self, record: Record, deadline: float, note: Note) -> str:
        where = results.platform(record)
        specs = [
            spec
            for library in limits.libraries()
            for spec in limits.specs(library, self.dtypes, steps=self.steps, warmup=WARMUP, platform=where)
        ]
        outcomes = race.race(specs, self.repeats, note, deadline=deadline, start_together=deadline < math.inf)
        record["limits"] += results.limits(specs, outcomes)
        _require_some(outcomes)
        best = [
            (f"{limits.MATMUL} {dtype}", results.ceiling(record["limits"], limits.MATMUL, dtype))
            for dtype in self.dtypes
        ]
        best.append((limits.COPY, results.ceiling(record["limits"], limits.COPY, self.dtypes[0])))
        reached = ", ".join(f"{what} {rate / 1e9:,.0f}" for what, rate in best if rate is not None)
        return f"10^9 multiply-adds or bytes a second: {reached}{_left_out(outcomes)}"


@dataclass(frozen=True)
class Race(Part):
    """Part that times the train steps of one net, and of the same net in other libraries (peers)."""

    net: NetName
    batch_size: int
    dtype: Dtype
    contestants: tuple[str, ...]
    """Names of programs that are timed, as in experiments.benchmark. They are compared with the first of `peers`."""
    steps: int
    """Number of steps that are timed together."""
    repeats: int
    """Number of rounds."""
    alive: int | None = None
    """Largest number of contestants that are on the device at the same time; None: all."""
    peers: tuple[str, ...] = (COMPILED, EAGER, FLAX)

    def run(self, record: Record, deadline: float, note: Note) -> str:
        config = step_config(self.net, self.batch_size, self.dtype)
        here = runnable(self.contestants)
        if not here:
            raise Absent("PyTorch is not installed")
        where = results.platform(record)
        specs = [Spec("step", name, configure(name, config), "train", self.steps, WARMUP, where) for name in here]
        outcomes = race.race(
            specs, self.repeats, note, deadline=deadline, alive=self.alive, start_together=deadline < math.inf
        )
        timed = {outcome.contestant: outcome for outcome in outcomes if not outcome.failed}
        compared = next((timed[name] for name in self.peers if name in timed), None)
        for spec, outcome in zip(specs, outcomes, strict=True):
            record["results"].append(results.result("step", spec, outcome, compared, record["limits"]))
            record["environment"] = record["environment"] or outcome.environment
        rows = record["results"][-len(specs) :]
        said = ", ".join(f"{row['contestant']} {1e3 * row['median']:.2f}" for row in rows if not row["failed"])
        absent = "; PyTorch is not installed" * (len(here) < len(self.contestants))
        sentence = f"ms a step: {said or 'none'}{absent}{_left_out(outcomes)}"
        ours = [outcome for outcome in outcomes if outcome.contestant.startswith(OURS) and outcome.failed]
        if ours:
            raise (Cut if ours[0].late else PartFailed)(sentence)
        _require_some(outcomes)
        return sentence


def _require_some(outcomes: list[Outcome]) -> None:
    if all(outcome.failed for outcome in outcomes):
        raise (Cut if outcomes[0].late else PartFailed)(f"nothing was timed{_left_out(outcomes)}")


def _left_out(outcomes: list[Outcome]) -> str:
    return "".join(f"; without {outcome.contestant}: {outcome.failed}" for outcome in outcomes if outcome.failed)
