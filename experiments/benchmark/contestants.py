"""The contestants of the benchmark that use JAX: this project's steps, and those of a straightforward Flax net.

All contestants use the same random images. Our step gathers its batch from images on the device and normalises it, as
in a training run. The step of a peer gets a batch that is already gathered and normalised, so it has a little less
work.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmark.noise import normalised, synthetic
from experiments.benchmark.peers import flax_resnet
from experiments.benchmark.spec import FLAX, OURS, STEP_ALONE, Spec
from resnet_jax.config import ExperimentConfig
from resnet_jax.data import Dataset, load
from resnet_jax.data.order import Batch, training_batches
from resnet_jax.training import processes
from resnet_jax.training.program import STEPS_AHEAD, Program, prepare

AGREE, ANY_OF = 10_000, 200
"""Number of calls of `agree` and of `any_of` that are timed together."""


class Contestant(Protocol):
    """A program whose steps the benchmark times."""

    steps: int
    """Number of steps in one call of `run`."""

    def run(self) -> float:
        """Runs `self.steps` steps and waits for the device; returns the mean loss of the last step."""

    def facts(self) -> dict[str, Any]:
        """Further facts about the contestant for the record, such as memory in bytes and versions."""


def build(spec: Spec) -> Contestant:
    """Builds and compiles the contestant that a spec describes.

    Raises:
      UserError: the contestant cannot run on this machine.
    """
    kinds: dict[str, Callable[[Spec], Contestant]] = {"loop": Loop, "processes": Processes, OURS: Ours, FLAX: Flax}
    return kinds[spec.name if spec.task in ("step", "compile") else spec.task](spec)


def on_noise(config: ExperimentConfig, image_shape: tuple[int, int, int], *, train: int = 1, test: int = 1) -> Program:
    """Prepares a run whose training and test images are random; returns its program (the compiled steps).

    Args:
      config: configuration of the run.
      image_shape: (height, width, channels).
      train: number of batches in the training set.
      test: number of batches in the test set.
    """
    batch = synthetic(config, image_shape)
    names = tuple(map(str, range(config.model.num_classes or 0)))
    several = [batch.part(np.tile(np.arange(len(batch)), count)) for count in (train, test)]
    return prepare(config, dataset=Dataset("noise", several[0], several[1], names))


def _mean_loss(sums: Any) -> float:
    return float(sums.loss) / float(sums.examples)


def _compiler_memory(figures: tuple[int, int] | None) -> dict[str, int]:
    names = ("compiler_argument_bytes", "compiler_temporary_bytes")
    return {} if figures is None else dict(zip(names, figures, strict=True))


def _device_memory(device: Any) -> dict[str, int]:
    """{"device_peak_bytes": peak of JAX's memory on a device}; empty on a CPU, because JAX reports no peak there."""
    stats = device.memory_stats() or {}
    return {"device_peak_bytes": stats["peak_bytes_in_use"]} if "peak_bytes_in_use" in stats else {}


class Ours:
    """Contestant: the train or eval steps of this project, compiled as in a training run."""

    def __init__(self, spec: Spec) -> None:
        phase, steps, size = spec.phase, spec.steps, spec.config.train.batch_size
        # Evaluation passes over the test set, and waits for the device only at the end of it.
        self.program = on_noise(spec.config, spec.image_shape, test=steps)
        self.state = self.program.put(self.program.assembly.initial)
        self.batch = Batch(np.arange(size, dtype=np.int32), np.zeros(size, np.int32))
        self.at_once = self.program.steps_per_dispatch if phase == "train" else 1
        self.phase, self.steps = phase, self.at_once * math.ceil(steps / self.at_once)

    def run(self) -> float:
        if self.phase == "eval":
            return self.program.evaluate(self.state, "test").mean_loss
        for _ in range(self.steps // self.at_once):
            self.state, report = self.program.train_on(self.state, [self.batch] * self.at_once)
        jax.block_until_ready(self.state)
        return _mean_loss(self.program.reports(report, self.at_once)[-1].sums)

    def facts(self) -> dict[str, Any]:
        figures = self.program.memory() if self.phase == "train" else None
        return {**_compiler_memory(figures), **_device_memory(self.program.devices.first)}


class Loop:
    """Contestant: an epoch of the training loop.

    Besides the steps, the time includes computing the order of the examples, transfers to the device, and fetching the
    metrics. The epoch has no evaluation, and writes no record and no checkpoint.

    If the contestant's name is "step alone", an epoch has the same number of steps as otherwise. But all steps use the
    same batch, and metrics are fetched only once, at the end.
    """

    def __init__(self, spec: Spec) -> None:
        config = spec.config
        self.program = prepare(config, dataset=load(config.data))
        self.state = self.program.put(self.program.assembly.initial)
        examples, batch_size = len(self.program.assembly.dataset.train), config.train.batch_size
        self.batches = training_batches(seed=config.seed, examples=examples, batch_size=batch_size, first_step=0)
        self.first = next(self.batches)
        self.stream, self.steps = spec.contestant != STEP_ALONE, math.ceil(examples / batch_size)

    def run(self) -> float:
        pending: deque[Any] = deque()
        for _ in range(self.steps):
            batch = next(self.batches) if self.stream else self.first
            self.state, report = self.program.train_on(self.state, [batch])
            pending.append(report)
            # The training loop also limits the number of steps that are started ahead.
            if len(pending) > STEPS_AHEAD:
                oldest = pending.popleft()
                self.program.devices.fetch(oldest) if self.stream else oldest.sums.loss.block_until_ready()
        fetched = [self.program.devices.fetch(report) for report in (pending if self.stream else [report])]
        return _mean_loss(fetched[-1].sums)

    def facts(self) -> dict[str, Any]:
        train = self.program.assembly.dataset.train
        return {"data": self.program.assembly.dataset.name, "examples": len(train), "place": self.program.place}


class Processes:
    """Contestant: train steps in one of several processes that train together."""

    def __init__(self, spec: Spec) -> None:
        self.program, self.steps, self.done = on_noise(spec.config, spec.image_shape, train=2), spec.steps, 0
        self.state = self.program.put(self.program.assembly.initial)

    def run(self) -> float:
        for step in range(self.done, self.done + self.steps):
            self.state, report = self.program.train(self.state, range(step, step + 1))
        self.done += self.steps
        return _mean_loss(self.program.reports(report, 1)[0].sums)

    def facts(self) -> dict[str, Any]:
        """The seconds of one call of `agree`, and of one call of `any_of` (resnet_jax/training/processes.py)."""
        found = {}
        for call, times in ((processes.agree, AGREE), (processes.any_of, ANY_OF)):
            begun = time.perf_counter()
            for _ in range(times):
                call(False)
            found[call.__name__] = (time.perf_counter() - begun) / times
        return found


class Flax:
    """Contestant: a straightforward step with Flax and optax, under jit with donation of the state."""

    def __init__(self, spec: Spec) -> None:
        config, phase = spec.config, spec.phase
        source = synthetic(config, spec.image_shape)
        self.phase, self.steps = phase, spec.steps
        self.images, self.labels = jnp.asarray(normalised(config, source)), jnp.asarray(source.labels)
        model, optimizer, self.state = flax_parts(config, spec.image_shape)
        if phase == "train":
            step = jax.jit(flax_resnet.train_step(model, optimizer), donate_argnums=0)
        else:
            step = jax.jit(flax_resnet.eval_step(model))
        self.step = step.lower(self.state, self.images, self.labels).compile()

    def run(self) -> float:
        for _ in range(self.steps):
            if self.phase == "train":
                self.state, loss = self.step(self.state, self.images, self.labels)
            else:
                loss, _ = self.step(self.state, self.images, self.labels)
                loss = loss / len(self.labels)
        jax.block_until_ready((self.state, loss))
        return float(loss)

    def facts(self) -> dict[str, Any]:
        found = self.step.memory_analysis()
        figures = None if found is None else (found.argument_size_in_bytes, found.temp_size_in_bytes)
        return {**_compiler_memory(figures), **_device_memory(jax.devices()[0])}


def flax_parts(config: ExperimentConfig, image_shape: tuple[int, int, int]) -> tuple[Any, Any, Any]:
    """Builds the Flax net of a configuration for images of `image_shape` (height, width, channels).

    Returns:
      The net, the optimizer, and the state (params, batch_stats, opt_state).
    """
    c, o = config.model, config.optim
    assert c.num_classes is not None
    model = flax_resnet.FlaxResNet(
        imagenet=c.family == "imagenet",
        depth=c.depth,
        bottleneck=c.block_kind == "bottleneck",
        projection=c.shortcut == "B",
        plain=c.shortcut == "none",
        classes=c.num_classes,
        dtype=jnp.dtype(c.dtype),
    )
    optimizer = optax.chain(optax.add_decayed_weights(o.weight_decay), optax.sgd(o.learning_rate, o.momentum))
    shape = (1, *image_shape)
    variables = jax.jit(model.init, static_argnames="train")(jax.random.key(config.seed), jnp.zeros(shape), train=False)
    params = variables["params"]
    return model, optimizer, (params, variables["batch_stats"], optimizer.init(params))
