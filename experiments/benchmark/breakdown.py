"""Measures how the time of a train step divides into work of the host and kernels of the device.

A dispatch is one call of a compiled function, which takes one or more train steps.

| figure     | measured time, in seconds for each step                                                     |
|------------|---------------------------------------------------------------------------------------------|
| `step`     | whole step; the host starts all dispatches and then waits for the device                    |
| `alone`    | whole step; the host waits for each dispatch before it starts the next                      |
| `batch`    | host: computes the indices of the examples                                                  |
| `dispatch` | host: sends the indices and starts a dispatch, without waiting for its end                  |
| `report`   | host: fetches the metrics of a dispatch, after the device has finished                      |
| `kernels`  | device: time in which a kernel runs, from the profiler; None if the profile has no kernels  |

If `batch` + `dispatch` exceeds `kernels`, a GPU waits for the host: `step` - `kernels` seconds in each step. On a CPU,
host and device are the same cores, and `dispatch` may include the step itself.
"""

import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments.benchmark.contestants import on_noise
from experiments.benchmark.spec import Spec
from resnet_jax.config import ExperimentConfig
from resnet_jax.data.order import Batch, training_batches

BATCHES = 4
"""Number of batches in the training set of random images, from which each step gathers its batch."""
LONGEST = 10
"""Number of kernels in a record: the ones with the longest total times."""
DEVICE_PLANE, DEVICE_LINE = "/device:", "Stream"
HOST_PLANE, HOST_LINE = "/host:CPU", "tf_XLAPjRtCpuClient"
"""Names of the planes and lines of a profile that contain kernels: of a GPU, and of the CPU."""


class Steps:
    """Train steps on random images: the compiled steps, the state, and the order of the examples."""

    def __init__(self, config: ExperimentConfig, image_shape: tuple[int, int, int]) -> None:
        size = config.train.batch_size
        self.program = on_noise(config, image_shape, train=BATCHES)
        self.state = self.program.put(self.program.assembly.initial)
        self.batches = training_batches(seed=config.seed, examples=BATCHES * size, batch_size=size, first_step=0)
        self.report: Any = None

    def draw(self, size: int) -> list[Batch]:
        """Computes, on the host, the indices of the examples for one dispatch of `size` steps."""
        return list(itertools.islice(self.batches, size))

    def dispatch_all(self, drawn: Iterable[list[Batch]]) -> None:
        """Starts a dispatch for each list of batches, without waiting for the device."""
        for batches in drawn:
            self.state, self.report = self.program.train_on(self.state, batches)

    def wait(self) -> None:
        jax.block_until_ready((self.state, self.report))

    def run(self, size: int, dispatches: int, *, alone: bool = False) -> None:
        """Runs dispatches of `size` steps; waits for the device after each dispatch if `alone`, else at the end."""
        for _ in range(dispatches):
            self.dispatch_all([self.draw(size)])
            if alone:
                self.wait()
        self.wait()


def measure(spec: Spec) -> list[dict[str, Any]]:
    """Measures the figures in this module's table, the number of kernels in a step, and the kernels that take longest.

    The first row of the result is for dispatches of one step. If a dispatch of a training run with this configuration
    takes several steps, a second row is for dispatches of that size. Each figure is a mean over at least `spec.steps`
    steps.
    """
    steps = Steps(spec.config, spec.image_shape)
    sizes = sorted({1, steps.program.steps_per_dispatch})
    return [_figures(steps, size, math.ceil(spec.steps / size), spec.warmup) for size in sizes]


def _figures(steps: Steps, size: int, dispatches: int, warmup: int) -> dict[str, Any]:
    def mean(part: Callable[[], object]) -> float:
        start = time.perf_counter()
        part()
        return (time.perf_counter() - start) / (size * dispatches)

    for _ in range(max(warmup, 1)):
        steps.run(size, dispatches)
    found: dict[str, Any] = {"steps_per_dispatch": size, "steps": size * dispatches}
    found["step"] = mean(lambda: steps.run(size, dispatches))
    found["alone"] = mean(lambda: steps.run(size, dispatches, alone=True))
    drawn: list[list[Batch]] = []
    found["batch"] = mean(lambda: drawn.extend(steps.draw(size) for _ in range(dispatches)))
    found["dispatch"] = mean(lambda: steps.dispatch_all(drawn))
    steps.wait()
    found["report"] = mean(lambda: [steps.program.reports(steps.report, size) for _ in range(dispatches)])
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            steps.run(size, dispatches)
        (file,) = Path(folder).rglob("*.xplane.pb")
        profile = jax.profiler.ProfileData.from_file(str(file))
    return {**found, **kernels(profile.planes, size * dispatches)}


def kernels(planes: Iterable[Any], count: int) -> dict[str, Any]:
    """Computes figures of the kernels from a profile of several steps.

    Returns the seconds in which at least one kernel runs, the number of kernels, and a list of [name, seconds] for the
    kernels that take longest. All figures are for one step: means over the steps of the profile.

    Args:
      planes: the planes of a profile by jax.profiler; their events have a name, start_ns and duration_ns.
      count: number of steps in the profile.
    """
    events = _events(planes)
    by_name: dict[str, float] = {}
    for name, start, end in events:
        by_name[name] = by_name.get(name, 0.0) + (end - start)
    longest = sorted(by_name.items(), key=lambda item: -item[1])[:LONGEST]
    return {
        "kernels": busy([(start, end) for _, start, end in events]) / 1e9 / count if events else None,
        "kernel_count": len(events) / count,
        "longest_kernels": [[name, total / 1e9 / count] for name, total in longest],
    }


def busy(intervals: Sequence[tuple[float, float]]) -> float:
    """The length of the union of intervals (start, end)."""
    total, reached = 0.0, -float("inf")
    for start, end in sorted(intervals):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def _events(planes: Iterable[Any]) -> list[tuple[str, float, float]]:
    """Name, start (ns) and end (ns) of each kernel on the first GPU of the profile, or on the CPU if it has no GPU."""
    planes = list(planes)
    for plane_prefix, line_prefix in ((DEVICE_PLANE, DEVICE_LINE), (HOST_PLANE, HOST_LINE)):
        for plane in planes:
            if plane.name.startswith(plane_prefix):
                events = [event for line in plane.lines if line.name.startswith(line_prefix) for event in line.events]
                found = [(e.name, e.start_ns, e.start_ns + e.duration_ns) for e in events if e.duration_ns > 0]
                if found:
                    return found
    return []
