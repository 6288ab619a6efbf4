"""The program of a contestant's process.

The process writes its answers on standard output, each as one line of JSON. It builds a contestant, runs the warm-up
rounds, and writes a first answer with facts about the machine. Then it reads requests on standard input, one on each
line. For "go" it runs the steps of a round and writes their seconds. For "end" it writes the facts of the contestant,
and ends. A spec whose task is "compile" or one of `MEASURE_ALONE` needs no requests: its process writes one answer, and
ends.

Each contestant has a separate process for three reasons: the threads of two libraries in one process would compete,
peak memory is measured for a process, and malloc reads its settings when a process starts.
"""

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
"""JAX's names of the durations that it reports, and the names in records."""
STEP_NAMES = {OURS: "train", FLAX: "flax_train"}
"""Names of the jitted train steps: JAX reports compile times with the names of functions."""
MEASURE_ALONE = ("convolutions", "device", "breakdown")
"""Tasks that need no requests: the function `measure` in the module of the same name gives the only answer."""


def main() -> int:
    """Answers the requests on standard input until "end"; returns the exit status."""
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
    """Seconds that JAX reports for tracing, lowering and compiling the train step. JAX's compilation cache is off.

    Raises:
      UserError: the contestant does not use JAX.
    """
    if spec.name not in STEP_NAMES:
        raise UserError(f"contestants: got {spec.contestant!r}; legal with --what compile: {' or '.join(STEP_NAMES)}.")
    import jax

    jax.config.update("jax_enable_compilation_cache", False)
    found = _listen_to_compiling(spec)
    _build(spec)
    missing = [name for name, seconds in found.items() if seconds == 0.0]
    assert not missing, f"JAX reported no time for {', '.join(missing)} of {STEP_NAMES[spec.name]!r}"
    return {**found, "total": sum(found.values())}


def _listen_to_compiling(spec: Spec) -> dict[str, float]:
    """Returns a dict to which JAX, from now on, adds the seconds of tracing, lowering and compiling the train step."""
    import jax

    found = dict.fromkeys(EVENTS.values(), 0.0)
    names = (STEP_NAMES[spec.name], f"jit({STEP_NAMES[spec.name]})")

    def listen(event: str, duration_secs: float, **of: str | int) -> None:
        if event in EVENTS and of.get("fun_name") in names:
            found[EVENTS[event]] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


def _build(spec: Spec) -> Any:
    # Imported here, because tune_malloc may restart the process first, and because PyTorch's process needs no JAX.
    if spec.task == "limit":
        from experiments.benchmark.limits import Limit

        return Limit(spec)
    if spec.name in TORCH:
        from experiments.benchmark.torch_contestant import Torch

        return Torch(spec)
    from experiments.benchmark.contestants import build

    return build(spec)


def environment(parallel: ParallelConfig) -> dict[str, Any]:
    """Facts about machine and versions for the record; empty in a process that has not imported JAX."""
    if "jax" not in sys.modules:
        return {}
    from resnet_jax.training.environment import describe, processor
    from resnet_jax.training.mesh import devices

    return {**asdict(describe(devices(parallel))), "processor": processor()}


def _forget_peak() -> None:
    """Resets the peak memory of this process, so that the peak does not include compilation.

    Has no effect on systems other than Linux.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory(what: Literal["VmRSS", "VmHWM"]) -> int | None:
    """Resident memory of this process in bytes: current (VmRSS) or peak (VmHWM); None if the system is not Linux."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(what)), None)


if __name__ == "__main__":
    cli.run_main(main)
