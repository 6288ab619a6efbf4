"""What each kind of part does: it measures, adds to the record, and says in a sentence what it found."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from typing import Any

from experiments.benchmark import limits, race, table
from experiments.benchmark.race import Outcome
from experiments.benchmark.spec import OURS, TORCH, Spec, configure, has_torch, step_config
from experiments.gpu_check import tests
from experiments.gpu_check.plan import Breakdown, Device, DeviceTests, Limits, Part, Race
from resnet_jax.config import override
from resnet_jax.text import Note

Record = dict[str, Any]
WARMUP = 2
"""Rounds before the first that counts."""


class PartFailed(Exception):
    """A part has nothing to show, or shows something wrong; the message says what, in a sentence."""


class Absent(PartFailed):
    """What the part measures is not installed here."""


class Cut(PartFailed):
    """The time was up before the part had all that it measures."""


def run(part: Part, record: Record, deadline: float = math.inf, note: Note = lambda line: None) -> str:
    """Runs a part until its end or a moment of time.monotonic(); returns what it found, in a sentence.

    Raises:
      PartFailed: it failed, or was cut. What it had found by then is in the record.
    """
    match part:
        case Device():
            return _device(record, deadline)
        case DeviceTests():
            return _tests(part, record, deadline)
        case Breakdown():
            return _breakdown(part, record, deadline)
        case Limits():
            return _limits(part, record, deadline, note)
        case Race():
            return _race(part, record, deadline, note)


def platform(record: Record) -> str:
    """Where JAX computes, "cpu" or "gpu" (any accelerator)."""
    return "cpu" if record["environment"].get("platform", "cpu") == "cpu" else "gpu"


def _device(record: Record, deadline: float) -> str:
    answer = race.answer(Spec("device", "device", step_config("resnet-20", 1, "float32")), deadline)
    record["environment"], record["device"] = answer["environment"], answer["found"]
    found, versions = answer["found"], answer["environment"]["versions"]
    if found["nvidia_smi"] and platform(record) == "cpu":
        raise PartFailed(
            f"this machine has {found['nvidia_smi'].get('name', 'a GPU')}, and jax {versions['jax']} computes on the "
            f"CPU: install JAX for the GPU, as with JAX='jax[cuda13]', or set JAX_PLATFORMS=cpu to check the CPU"
        )
    driver = found["nvidia_smi"].get("driver_version")
    unasked = [row for row in found["precision"]["float32"] if row["precision"] == "default"]
    float32 = ", ".join(f"{row['operation']} {row['arithmetic']}" for row in unasked)
    return (
        f"{answer['environment']['device']}{f', driver {driver}' if driver else ''}, jax {versions['jax']}; "
        f"float32 is computed as: {float32}; precision asked for: {found['precision']['config']}"
    )


def _tests(part: DeviceTests, record: Record, deadline: float) -> str:
    if why := tests.missing(tests.FOLDER):
        raise PartFailed(why)
    results = tests.run(part.select, part.processes, platform(record), tests.FOLDER, deadline)
    record["tests"] += [asdict(test) for test in results.tests]
    counts = Counter(test.status for test in results.tests)
    said = ", ".join(f"{number} {status}" for status, number in counts.items()) or "none came to its end"
    bad = [f"{test.name.rpartition('::')[2]}: {test.message or test.status}" for test in results.tests if test.bad]
    sentence = f"{said}{'; ' * bool(bad)}{'; '.join(bad)}"
    if results.cut:
        raise Cut(f"the time was up; {sentence}")
    if bad or not results.tests or results.exit_status:
        lines = [line for line in results.output.splitlines() if line.strip()]
        raise PartFailed(sentence if bad else f"{said}: {lines[-1] if lines else 'pytest said nothing'}")
    return sentence


def _breakdown(part: Breakdown, record: Record, deadline: float) -> str:
    config = step_config(part.net, part.batch_size, part.dtype)
    config = override(config, {"train.steps_per_dispatch": part.steps_per_dispatch})
    answer = race.answer(Spec("breakdown", "breakdown", config, steps=part.steps, warmup=WARMUP), deadline)
    said = []
    for found in answer["found"]:
        record["breakdown"].append({"net": part.net, "batch_size": part.batch_size, "dtype": part.dtype, **found})
        kernels = "no kernel seen" if found["kernels"] is None else f"kernels {1e3 * found['kernels']:.3f}"
        host = 1e3 * (found["batch"] + found["dispatch"] + found["report"])
        said.append(
            f"step {1e3 * found['step']:.3f}, {kernels}, host {host:.3f} at {found['steps_per_dispatch']} a dispatch"
        )
    return f"{part.net}, batch {part.batch_size}, {part.dtype}, ms a step: {'; '.join(said)}"


def _limits(part: Limits, record: Record, deadline: float, note: Note) -> str:
    where, specs = platform(record), []
    for library in [limits.JAX] + [limits.TORCH] * has_torch():
        for i, dtype in enumerate(part.dtypes):
            config = step_config("resnet-20", 1, dtype)
            whats = (limits.MATMUL, limits.COPY) if i == 0 else (limits.MATMUL,)
            names = [f"{what}, {library}" for what in whats]
            specs += [Spec("limit", name, config, "train", part.steps, WARMUP, where) for name in names]
    outcomes = race.race(specs, part.repeats, note, deadline=deadline, start_together=deadline < math.inf)
    for spec, outcome in zip(specs, outcomes, strict=True):
        record["limits"] += table.limits([outcome], spec.config.model.dtype)
    _require_some(outcomes)
    best = [
        (f"{limits.MATMUL} {dtype}", table.ceiling(record["limits"], limits.MATMUL, dtype)) for dtype in part.dtypes
    ]
    best.append((limits.COPY, table.ceiling(record["limits"], limits.COPY, part.dtypes[0])))
    reached = ", ".join(f"{what} {rate / 1e9:,.0f}" for what, rate in best if rate is not None)
    return f"10^9 multiply-adds or bytes a second: {reached}{_left_out(outcomes)}"


def _race(part: Race, record: Record, deadline: float, note: Note) -> str:
    config = step_config(part.net, part.batch_size, part.dtype)
    here = [name for name in part.contestants if has_torch() or not name.startswith(TORCH)]
    if not here:
        raise Absent("PyTorch is not installed")
    where = platform(record)
    specs = [Spec("step", name, configure(name, config), "train", part.steps, WARMUP, where) for name in here]
    outcomes = race.race(
        specs, part.repeats, note, deadline=deadline, alive=part.alive, start_together=deadline < math.inf
    )
    timed = {outcome.contestant: outcome for outcome in outcomes if not outcome.failed}
    compared = next((timed[name] for name in part.peers if name in timed), None)
    record["results"] += [
        table.result("step", spec, outcome, compared, record["limits"])
        for spec, outcome in zip(specs, outcomes, strict=True)
    ]
    for outcome in outcomes:
        record["environment"] = record["environment"] or outcome.environment
    rows = record["results"][-len(specs) :]
    said = ", ".join(f"{row['contestant']} {1e3 * row['median']:.2f}" for row in rows if not row["failed"])
    absent = "; PyTorch is not installed" * (len(here) < len(part.contestants))
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
