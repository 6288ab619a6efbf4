"""What do processes cost? One process with two devices beside two processes with a device each, in turn.

Both take the same train steps, under shard_map, so the difference is how gradients and statistics travel: within a
process, or over the machine's loopback. A call of `agree`, which the loop makes after each dispatch, and of `any_of`,
which asks all processes and answers all, are timed in the two processes when the rounds are done.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import time
from contextlib import ExitStack

from experiments import cli, machine
from experiments.benchmark.processes_table import CALL, STEP, Row
from experiments.benchmark.race import Process
from experiments.benchmark.spec import INPUTS, Images
from experiments.benchmark.table import quartiles
from resnet_jax.config import ExperimentConfig, from_dict, override, to_dict

DEVICES, MODE = 2, "shard_map"
LAYOUTS = {"1 process x 2 devices": 1, "2 processes x 1 device": 2}
STEPS = 8
"""Train steps that are timed together."""
AGREE, ANY_OF = 10_000, 200
"""Calls that are timed together."""


def measure(config: ExperimentConfig, images: Images | None, *, repeats: int, warmup: int) -> tuple[list[Row], Row]:
    """Times the train step of a net on both layouts.

    Args:
      config: net and batch.
      images: of noise, as the benchmark's options name them; None: the family's own.
      repeats: rounds that count, in each of which both layouts take STEPS steps.
      warmup: rounds before them.

    Returns:
      The rows of the record, and its environment.

    Raises:
      UserError: a process failed; the sentence says how.
    """
    seconds: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    with ExitStack() as stack:
        groups = {
            name: [stack.enter_context(worker) for worker in _start(config, images, count)]
            for name, count in LAYOUTS.items()
        }
        ready = {name: [worker.read() for worker in workers] for name, workers in groups.items()}
        for turn in range(warmup + repeats):
            order = list(groups) if turn % 2 == 0 else list(groups)[::-1]
            for name in order:
                for worker in groups[name]:
                    worker.tell("go")
                slowest = max(worker.read()["seconds"] for worker in groups[name])
                if turn >= warmup:
                    seconds[name].append(slowest / STEPS)
        facts: dict[str, list[Row]] = {}
        for name, workers in groups.items():
            for worker in workers:
                worker.tell("end")
            facts[name] = [worker.read() for worker in workers]
    one, two = seconds.values()
    case = {"net": ready[next(iter(LAYOUTS))][0]["net"], "images": "x".join(map(str, _shape(config, images)))}
    case |= {"batch_size": config.train.batch_size, "dtype": config.model.dtype}
    rows: list[Row] = []
    for name, times in seconds.items():
        low, median, high = quartiles(times)
        ratio = quartiles([a / b for a, b in zip(one, times, strict=True)])
        row = {"what": STEP, **case, "layout": name, "seconds": times, "median": median, "quartiles": [low, high]}
        rows.append(row | {"ratio": ratio[1], "ratio_quartiles": [ratio[0], ratio[2]]})
    for call in ("agree", "any_of"):
        worst = max(found[call] for found in facts[list(LAYOUTS)[1]])
        rows.append({"what": CALL, **case, "call": call, "seconds": worst, "step": quartiles(two)[1]})
    return rows, ready[next(iter(LAYOUTS))][0]["environment"]


def _start(config: ExperimentConfig, images: Images | None, count: int) -> list[Process]:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    # Each layout makes the devices that it needs.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    workers = []
    for index in range(count):
        place = {"parallel.coordinator": f"localhost:{port}", "parallel.process": index} if count > 1 else {}
        changes = {"parallel.mode": MODE, "parallel.devices": DEVICES, "parallel.processes": count, **place}
        shape = json.dumps(_shape(config, images))
        words = ["experiments.benchmark.processes", json.dumps(to_dict(override(config, changes))), shape]
        workers.append(Process(words, environment))
    return workers


def _shape(config: ExperimentConfig, images: Images | None) -> tuple[int, int, int]:
    return INPUTS.image_shape(images or config.model.family)


def work() -> None:
    """Is one process of a layout: sets itself up, and answers "go" and "end" with a line each."""
    machine.tune_malloc()
    config, (height, width, channels) = from_dict(json.loads(sys.argv[1])), json.loads(sys.argv[2])
    machine.virtual_devices(machine.share_of_devices(config.parallel))
    answers = sys.stdout  # joining silences all processes but the first
    machine.join(config)
    import numpy as np

    from resnet_jax.data import Dataset
    from resnet_jax.data.dataset import ArraySource
    from resnet_jax.training import processes
    from resnet_jax.training.environment import describe, processor
    from resnet_jax.training.program import prepare

    def answer(values: Row) -> None:
        print(json.dumps(values), file=answers, flush=True)

    draw, classes = np.random.default_rng(0), config.model.num_classes
    assert classes is not None, "a benchmark's net says its classes"
    size = 2 * config.train.batch_size
    noise = ArraySource(
        draw.integers(0, 256, (size, height, width, channels), np.uint8), draw.integers(0, classes, size, np.int32)
    )
    program = prepare(config, dataset=Dataset("noise", noise, noise, tuple(map(str, range(classes)))))
    state, step = program.put(program.assembly.initial), 0
    environment = {**dataclasses.asdict(describe(program.devices)), "processor": processor()}
    answer({"environment": environment, "net": f"{config.model.net}-{config.model.depth}"})
    for line in sys.stdin:
        if line.strip() == "end":
            break
        begun = time.perf_counter()
        for _ in range(STEPS):
            state, report = program.train(state, range(step, step + 1))
            step += 1
        program.reports(report, 1)  # waits for the last
        answer({"seconds": time.perf_counter() - begun})
    calls = {}
    for name, call, times in (("agree", processes.agree, AGREE), ("any_of", processes.any_of, ANY_OF)):
        begun = time.perf_counter()
        for _ in range(times):
            call(False)
        calls[name] = (time.perf_counter() - begun) / times
    answer(calls)


if __name__ == "__main__":
    cli.run_main(work)
