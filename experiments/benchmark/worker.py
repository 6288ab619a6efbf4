"""The process of a contestant: it reports its facts after warm-up, steps at every "go", and reports the seconds.

Each contestant has its own process for three reasons: threads of two libraries in one process would compete, peak
memory is measured for a process, and malloc reads its settings when a process starts. Lines on standard output are
JSON; lines on standard input are "go" and "end".
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from experiments import cli, machine
from experiments.benchmark.spec import FLAX, OURS, TORCH, Spec
from resnet_jax.config import ParallelConfig
from resnet_jax.errors import UserError

EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}
"""JAX's names of the durations that it measures, and our names."""
STEP_NAMES = {OURS: "train", FLAX: "flax_train"}
"""Names of the jitted functions, by which their times are recognised."""
MEASURE_ALONE = ("convolutions", "device", "breakdown")
"""Tasks with a module of the same name, whose function `measure` takes the times."""


def main() -> int:
    """Runs the protocol; returns the exit status."""
    spec = Spec.from_json(sys.argv[1])
    parallel = spec.config.parallel
    machine.virtual_devices(machine.share_of_devices(parallel))
    if spec.tuned:
        machine.tune_malloc()
    # Text that libraries print must not mix with the protocol's lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    machine.join(spec.config)

    def say(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    if spec.task == "compile":
        say(seconds=compile_seconds(spec), environment=environment(parallel))
        return cli.OK
    if spec.task in MEASURE_ALONE:
        module = importlib.import_module(f"experiments.benchmark.{spec.task}")
        say(found=module.measure(spec), environment=environment(parallel))
        return cli.OK
    compiling = _listen_to_compiling(spec) if spec.task == "step" and spec.name in STEP_NAMES else {}
    contestant = _build(spec)
    for _ in range(spec.warmup):
        contestant.run()
    _forget_peak()
    say(environment=environment(parallel), steps=contestant.steps)
    for line in sys.stdin:
        if line.strip() != "go":
            break
        start = time.perf_counter()
        loss = contestant.run()
        say(seconds=time.perf_counter() - start, loss=loss)
    peak = memory("VmHWM")
    facts = {**contestant.facts(), **({"peak_resident_bytes": peak} if peak is not None else {})}
    say(facts={**facts, **({"compile_seconds": compiling} if compiling else {})})
    return cli.OK


def compile_seconds(spec: Spec) -> dict[str, float]:
    """Seconds that JAX took to trace, lower and compile the train step, by JAX's own clocks, without its cache.

    Raises:
      UserError: the contestant does not use JAX.
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
    """Seconds to trace, lower and compile the train step, to which JAX adds from now on."""
    import jax

    found = dict.fromkeys(EVENTS.values(), 0.0)
    names = (STEP_NAMES[spec.name], f"jit({STEP_NAMES[spec.name]})")

    def listen(event: str, duration_secs: float, **of: str | int) -> None:
        if event in EVENTS and of.get("fun_name") in names:
            found[EVENTS[event]] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


def _build(spec: Spec) -> Any:
    # Imported here: new malloc settings restart this process first, and PyTorch's process does not need JAX.
    if spec.task == "limit":
        from experiments.benchmark.limits import Limit

        return Limit(spec)
    if spec.name in TORCH:
        from experiments.benchmark.torch_contestant import Torch

        return Torch(spec)
    from experiments.benchmark.contestants import build

    return build(spec)


def environment(parallel: ParallelConfig) -> dict[str, Any]:
    """The environment of a process that uses JAX, for the record; empty for a process of PyTorch."""
    if "jax" not in sys.modules:
        return {}
    from resnet_jax.training.environment import describe, processor
    from resnet_jax.training.mesh import devices

    return {**asdict(describe(devices(parallel))), "processor": processor()}


def _forget_peak() -> None:
    """Resets the peak memory, so that it shows stepping and not compilation. Only on Linux."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory(what: Literal["VmRSS", "VmHWM"]) -> int | None:
    """Resident memory of this process in bytes: current (VmRSS) or peak (VmHWM). Only on Linux; else None."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(what)), None)


if __name__ == "__main__":
    cli.run_main(main)
