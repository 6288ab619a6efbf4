"""From a configuration to everything a loop needs: data on the devices, the net, compiled steps, the first state."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.data import Dataset, Normalization, load
from resnet_jax.data.batches import Batch, eval_batches, padded
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import ResNet, build
from resnet_jax.models.stacking import stack, unstack
from resnet_jax.record import Start
from resnet_jax.training import optim
from resnet_jax.training import state as state_lib
from resnet_jax.training.feed import Feed, feed
from resnet_jax.training.metrics import StepReport, Sums, Tally, Totals
from resnet_jax.training.parallel import Devices, devices
from resnet_jax.training.start import pretrained, run_normalization
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import eval_step, train_step

Array = jax.Array
# Steps the host may dispatch before it waits for the oldest. Bounds the queue on the device; changes no result.
STEPS_AHEAD = 16
# Up to which depth "auto" writes stages out.
UNROLLED_DEPTH = 200
COLUMNS = 80  # of a terminal


@dataclass
class Setup:
    """A run, ready to be stepped. States are the devices' own: `put` places one, `fetch` brings it to the host."""

    config: ExperimentConfig
    """With the number of classes resolved."""
    dataset: Dataset
    normalization: Normalization
    start: Start | None
    """The net in a file that the run is fine-tuned from."""
    devices: Devices
    initial: TrainState
    """The state before the first step, on the host."""
    compile_s: float
    place: str
    """For people: where the images are."""
    model: ResNet
    """As it is evaluated; of scanned blocks, perhaps. It knows which stages are frozen."""
    _feed: Feed
    _key: Array
    _train: jax.stages.Compiled
    _eval: jax.stages.Compiled

    def put(self, state: TrainState) -> TrainState:
        """The host's state, on the devices; there, blocks may be stacked for a scan."""
        placed: TrainState = self.devices.replicate_state(self.to_layout(state))
        return placed

    def fetch(self, state: TrainState) -> TrainState:
        """The devices' state as NumPy arrays on the host, block by block; waits for it."""
        host: TrainState = self.from_layout(self.devices.fetch(state))
        return host

    def to_layout(self, tree: Any) -> Any:
        """A host's tree of variables as `model` takes it."""
        return stack(tree, self.model.config) if self.model.scanned else tree

    def from_layout(self, tree: Any) -> Any:
        """A host's tree of variables as `model` has it, block by block."""
        return unstack(tree, self.model.config) if self.model.scanned else tree

    def train(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepReport]:
        """Dispatches one train step; `state` is gone after the call.

        Nothing waits for the device. The report is the devices' own too; `devices.fetch` brings it to the host.
        """
        on_devices = self.devices.shard(self._feed.train(batch))
        new, report = self._train(state, on_devices, self._key, *self._feed.fixed)
        return new, report

    def memory(self) -> tuple[int, int] | None:
        """The compiler's own figures for the train step on each device: bytes of its arguments, and of temporaries.

        Arguments are the state, and the images where they lie on the device. None where the compiler tells nothing.
        """
        found = self._train.memory_analysis()
        return None if found is None else (found.argument_size_in_bytes, found.temp_size_in_bytes)

    def table(self) -> str:
        """Where and how the run computes, for people: a few lines of at most 80 columns."""
        c, where = self.config, self.devices
        parts, share = c.train.accumulation, c.train.batch_size // where.count
        batch = f"{c.train.batch_size} images a step, {share} on each device"
        if parts > 1:
            batch += f", in {parts} parts of {share // parts}"
        norm = c.model.norm.scope
        dtype = c.model.dtype
        rows = {
            "platform": f"{where.first.platform}, {where.first.device_kind}",
            "devices": f"{where.count}, {where.mode}",
            "batch": batch,
            "batch norm": f"{norm}, over {c.norm_batch} images",
            **optim.schedule_rows(c.optim, c.train.iterations),
            "computes in": f"{dtype}, parameters and statistics in {'float64' if dtype == 'float64' else 'float32'}",
        }
        if self.start is not None:
            frozen = c.finetune.frozen_stages
            kept = f", frozen up to stage {frozen}" if frozen else ""
            rows["starts from"] = f"{self.start.file} ({self.start.digest}){kept}"
        return "\n".join(f"  {name:11}  {value}"[:COLUMNS] for name, value in rows.items())

    def evaluate(self, state: TrainState, split: str) -> Totals:
        """Loss and error on a whole split ("train", "validation", "test"), in eval mode, each example once.

        Raises:
          Miscounted: some example did not count once, by the positions sent or by the devices' own sum of weights.
        """
        size = len(getattr(self.dataset, split))
        pending: deque[Sums] = deque()
        totals, tally = Totals(), Tally(split, size)

        def add(leave: int) -> None:
            while len(pending) > leave:
                totals.add(self.devices.fetch(pending.popleft()))

        for index, weight in eval_batches(size, self.config.train.eval_batch_size, self.devices.count):
            on_devices = self.devices.shard(self._feed.evaluate(split, index, weight))
            pending.append(self._eval(state, on_devices, *self._feed.fixed))
            tally.add(index, weight)
            add(STEPS_AHEAD)
        add(0)
        tally.check(totals)
        return totals


def resolve(config: ModelConfig, dataset: Dataset) -> ModelConfig:
    """`config` with its number of classes, from the data where it leaves it to them.

    Raises:
      UserError: it names another number than the data have.
    """
    if config.num_classes not in (None, dataset.num_classes):
        raise UserError(
            f"model.num_classes: got {config.num_classes}; legal: {dataset.num_classes}, the classes of "
            f"{dataset.name}, or None to take them from the data."
        )
    return dataclasses.replace(config, num_classes=dataset.num_classes)


def scans(config: ModelConfig) -> bool:
    """Whether a net's stages are scanned, with "auto" resolved."""
    return config.stages == "scanned" or (config.stages == "auto" and config.depth > UNROLLED_DEPTH)


def run_keys(seed: int) -> tuple[Array, Array]:
    """The keys of a run, by purpose: of the initial values, and of the augmentation."""
    initial, augmentation = jax.random.split(jax.random.key(seed))
    return initial, augmentation


def check_machine(config: ExperimentConfig) -> Devices:
    """The devices of a run, once it is sure that this process can run it.

    Raises:
      UserError: more devices than there are, or float64 without JAX's x64 mode.
    """
    if config.model.dtype == "float64" and jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise UserError("model.dtype: got 'float64', which needs JAX's x64 mode: set JAX_ENABLE_X64=1.")
    return devices(config.parallel)


def prepare(
    config: ExperimentConfig,
    tell: Callable[[str], None] = lambda text: None,
    dataset: Dataset | None = None,
) -> Setup:
    """Loads the data, builds the net, places all on the devices and compiles the steps.

    Args:
      config: of the run.
      tell: is told what is worth knowing about the data, a line at a time.
      dataset: that of `config.data`, where it is loaded already.

    Raises:
      UserError: data missing or damaged, or what `check_machine` raises.
    """
    where = check_machine(config)
    net = pretrained(config)
    if dataset is None:
        dataset = load(config.data, tell)
    config = dataclasses.replace(config, model=resolve(config.model, dataset))
    stats = run_normalization(config, dataset, net)
    source = feed(config.data, dataset, where)

    init_key, augment_key = run_keys(config.seed)
    unrolled = build(config.model)
    optimizer = optim.sgd(config.optim, config.finetune, len(config.model.stage_blocks))
    initial = jax.device_get(state_lib.create(unrolled, optimizer, init_key, dataset.image_shape))
    if net is not None:
        initial = net.put_into(initial)

    model = unrolled.clone(scanned=scans(config.model), frozen_stages=config.finetune.frozen_stages)
    at_once = config.train.batch_size // config.train.accumulation
    scoped = model.clone(stats_scope=where.batch_stats_scope(config.model.norm, at_once))

    def train(state: TrainState, at: Any, key: Array, *fixed: Any) -> tuple[TrainState, StepReport]:
        return train_step(
            state,
            source.train_batch(at, *fixed),
            key,
            model=scoped,
            optimizer=optimizer,
            normalization=stats,
            data=config.data,
            axis_name=where.axis_name,
            parts=where.parts(config.train.accumulation),
            report_gradients=config.train.gradient_norms_every > 0,
        )

    def evaluate(state: TrainState, at: Any, *fixed: Any) -> Sums:
        batch = source.eval_batch(at, *fixed)
        return eval_step(state, batch, model=model, normalization=stats, axis_name=where.axis_name)

    key = where.replicate(augment_key)
    state = where.replicate_state(stack(initial, model.config) if model.scanned else initial)
    # Compiled ahead of the loop, so a run cannot compile its step twice: a later call of another shape is an error.
    start = time.monotonic()
    zeros = np.zeros(config.train.batch_size, np.int32)
    at = where.shard(source.train(Batch(zeros, zeros)))
    compiled_train = where.compile(train, state, at, key, *source.fixed, donate_state=True)
    zeros = np.zeros(padded(config.train.eval_batch_size, where.count), np.int32)
    at = where.shard(source.evaluate("test", zeros, zeros.astype(np.float32)))
    compiled_eval = where.compile(evaluate, state, at, *source.fixed, donate_state=False)
    return Setup(
        config=config,
        dataset=dataset,
        normalization=stats,
        start=None if net is None else net.facts,
        devices=where,
        initial=initial,
        compile_s=time.monotonic() - start,
        place=source.place,
        model=model,
        _feed=source,
        _key=key,
        _train=compiled_train,
        _eval=compiled_eval,
    )
