"""A contestant's own process: it says what it is once it is warm, steps at every "go", and says what it took.

A process for each, since threads of two libraries in one would compete, since peak memory is a process's own, and since
malloc reads its settings when a process starts. Lines on standard output are JSON; on standard input they are "go" and
"end".
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments import cli, machine
from experiments.benchmark.spec import FLAX, OURS, Spec
from resnet_jax.errors import UserError

EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}
"""JAX's names of what it times by itself, and ours."""
STEP_NAMES = {OURS: "train", FLAX: "flax_train"}
"""The jitted functions, by which JAX tells their times from others'."""


def main() -> int:
    """The protocol; returns the exit status."""
    spec = Spec.from_json(sys.argv[1])
    machine.virtual_devices(spec.config.parallel.devices)
    if spec.tuned:
        machine.tune_malloc()
    # What libraries print must not end up between the lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    if spec.task == "compile":
        say(seconds=compile_seconds(spec), environment=_environment())
        return cli.OK
    if spec.task == "convolutions":
        from experiments.benchmark import convolutions

        say(found=convolutions.seconds(spec.steps, spec.warmup), environment=_environment())
        return cli.OK
    if spec.task == "device":
        from experiments.benchmark import device

        say(found=device.facts(spec.config), environment=_environment())
        return cli.OK
    if spec.task == "breakdown":
        from experiments.benchmark import breakdown

        say(found=breakdown.seconds(spec.config, spec.image_shape, spec.steps, spec.warmup), environment=_environment())
        return cli.OK
    compiling = _listen_to_compiling(spec) if spec.task == "step" and spec.name in STEP_NAMES else {}
    contestant = _build(spec)
    for _ in range(spec.warmup):
        contestant.run()
    _forget_peak()
    say(environment=_environment(), steps=contestant.steps)
    for line in sys.stdin:
        if line.strip() != "go":
            break
        start = time.perf_counter()
        loss = contestant.run()
        say(seconds=time.perf_counter() - start, loss=loss)
    say(facts={**contestant.facts(), **_peak(), **({"compile_seconds": compiling} if compiling else {})})
    return cli.OK


def compile_seconds(spec: Spec) -> dict[str, float]:
    """Seconds that JAX took to trace, lower and compile the train step, by its own clocks; nothing comes from a cache.

    Raises:
      UserError: a contestant of which JAX knows nothing.
    """
    if spec.name not in STEP_NAMES:
        raise UserError(f"contestants: got {spec.contestant!r}; compile times are those of {' and '.join(STEP_NAMES)}.")
    import jax

    jax.config.update("jax_enable_compilation_cache", False)
    found = _listen_to_compiling(spec)
    _build(spec)
    missing = [name for name, seconds in found.items() if seconds == 0.0]
    assert not missing, f"JAX told no time to {', '.join(missing)} {STEP_NAMES[spec.name]!r}"
    return {**found, "total": sum(found.values())}


def _listen_to_compiling(spec: Spec) -> dict[str, float]:
    """Seconds to trace, lower and compile the train step, which JAX adds to from now on."""
    import jax

    found = dict.fromkeys(EVENTS.values(), 0.0)
    names = (STEP_NAMES[spec.name], f"jit({STEP_NAMES[spec.name]})")

    def listen(event: str, duration_secs: float, **of: str | int) -> None:
        if event in EVENTS and of.get("fun_name") in names:
            found[EVENTS[event]] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


def _build(spec: Spec) -> Any:
    # Imported here, since a tuned malloc starts this process anew.
    from experiments.benchmark.contestants import build
    from experiments.benchmark.limits import Limit

    return Limit(spec) if spec.task == "limit" else build(spec)


def _environment() -> dict[str, Any]:
    """The environment of a process that computes with JAX; empty for a process of PyTorch."""
    if "jax" not in sys.modules:
        return {}
    from resnet_jax.config import ParallelConfig
    from resnet_jax.training.environment import describe, processor
    from resnet_jax.training.mesh import devices

    return {**asdict(describe(devices(ParallelConfig()))), "processor": processor()}


_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _forget_peak() -> None:
    """From now on peak memory is that of stepping: compiling may have taken more. Linux alone."""
    with contextlib.suppress(OSError):
        _RESET.write_text("5")


def _peak() -> dict[str, int]:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return {"peak_resident_bytes": 1024 * kilobytes[0]} if kilobytes else {}


if __name__ == "__main__":
    cli.run_main(main)
