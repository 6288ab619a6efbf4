"""Compares the speed of training in one process and in two processes.

The two layouts are one process with two devices, and two processes with one device each. Both take the same train steps
under shard_map. They differ in how gradients and statistics are sent: within a process, or over the machine's loopback
network. At the end, the two processes also time two functions:

- `agree` decides whether all processes stop now; the training loop calls it after each dispatch;
- `any_of` returns whether a flag is set in at least one process.
"""

import os
import socket
from contextlib import ExitStack, closing
from typing import Any

from experiments.benchmark.race import Worker
from experiments.benchmark.results import CALL, LAYOUT, Row, images_name, net_name, quartiles
from experiments.benchmark.spec import Images, Spec
from resnet_jax.config import ExperimentConfig, override

DEVICES, MODE = 2, "shard_map"
LAYOUTS = {"1 process x 2 devices": 1, "2 processes x 1 device": 2}
STEPS = 8
"""Number of train steps that are timed together."""


def measure(config: ExperimentConfig, images: Images | None, *, repeats: int, warmup: int) -> tuple[list[Row], Row]:
    """Times the train step of a net in both layouts: one process with two devices, and two processes with one each.

    Args:
      config: configuration of the run.
      images: name of an image shape, such as "digits"; None: 32x32x3 for a CIFAR net, 224x224x3 for an ImageNet net.
      repeats: number of timed rounds; in each, both layouts take `STEPS` steps.
      warmup: number of rounds before the timed rounds.

    Returns:
      The rows of the record, and the facts about machine and versions.

    Raises:
      UserError: a process failed; the message says why.
    """
    seconds: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    specs = {name: _specs(name, count, config, images, warmup) for name, count in LAYOUTS.items()}
    # Each layout creates the CPU devices that it needs.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    with ExitStack() as stack:
        groups = {
            name: [stack.enter_context(closing(Worker(spec, environment))) for spec in layout]
            for name, layout in specs.items()
        }
        ready = {name: [worker.read() for worker in workers] for name, workers in groups.items()}
        for turn in range(repeats):
            for name in list(groups) if turn % 2 == 0 else list(groups)[::-1]:
                seconds[name].append(max(found["seconds"] for found in _ask(groups[name], "go")) / STEPS)
        facts = {name: [found["facts"] for found in _ask(workers, "end")] for name, workers in groups.items()}
    (one, two), (first, second) = seconds.values(), LAYOUTS
    case: Row = {"net": net_name(config), "images": images_name(specs[first][0])}
    case |= {"batch_size": config.train.batch_size, "dtype": config.model.dtype}
    rows: list[Row] = []
    for name, times in seconds.items():
        low, median, high = quartiles(times)
        ratio = quartiles([a / b for a, b in zip(one, times, strict=True)])
        row = {"what": LAYOUT, **case, "layout": name, "seconds": times, "median": median, "quartiles": [low, high]}
        rows.append(row | {"ratio": ratio[1], "ratio_quartiles": [ratio[0], ratio[2]]})
    for call in ("agree", "any_of"):
        worst = max(found[call] for found in facts[second])
        rows.append({"what": CALL, **case, "call": call, "seconds": worst, "step": quartiles(two)[1]})
    return rows, ready[first][0]["environment"]


def _ask(workers: list[Worker], word: str) -> list[dict[str, Any]]:
    """Sends a word to all processes, and then reads their answers."""
    for worker in workers:
        worker.tell(word)
    return [worker.read() for worker in workers]


def _specs(layout: str, count: int, config: ExperimentConfig, images: Images | None, warmup: int) -> list[Spec]:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    config = override(config, {"parallel.mode": MODE, "parallel.devices": DEVICES, "parallel.processes": count})
    configs = [config]
    if count > 1:
        place: dict[str, Any] = {"parallel.coordinator": f"localhost:{port}"}
        configs = [override(config, {**place, "parallel.process": process}) for process in range(count)]
    return [Spec("processes", layout, each, steps=STEPS, warmup=warmup, images=images) for each in configs]
