"""The compiled steps of a run, with its state and images on the devices.

The host dispatches steps without waiting for the devices. A dispatch has one step, or `steps_per_dispatch` steps in a
`lax.scan`; programs for both are compiled before training begins.
"""

import functools
import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from resnet_jax.config import ExperimentConfig
from resnet_jax.data import Dataset
from resnet_jax.data.crops import passes
from resnet_jax.data.order import Batch, announced, eval_batches, padded, training_batches
from resnet_jax.data.stream import StreamSource
from resnet_jax.models.stacking import scans, stack, unstack
from resnet_jax.text import Note
from resnet_jax.training import processes
from resnet_jax.training.assemble import Assembly, assemble, run_keys
from resnet_jax.training.compiled import Steps
from resnet_jax.training.ema import evaluated
from resnet_jax.training.evaluate import Predictor, by_protocol, score
from resnet_jax.training.feed import feed
from resnet_jax.training.mesh import Devices, check_machine
from resnet_jax.training.metrics import StepReport, Sums, Tally, Totals
from resnet_jax.training.state import TrainState

# Number of dispatched steps after which the host waits for the oldest. Changes no result.
STEPS_AHEAD = 16
# Number of batches that a streamed source prepares ahead; must be below stream.SLOTS. Changes no result.
BATCHES_AHEAD = 2
# Steps in one dispatch with "auto". On a CPU a dispatch is cheap compared with a step; accelerators were not measured.
CPU_DISPATCH, ACCELERATOR_DISPATCH = 1, 20


class Program:
    """The compiled steps of a run on its devices.

    States are on the devices: `put` sends a state there, `fetch` returns it to the host.
    """

    def __init__(self, assembly: Assembly, devices: Devices, phase: Note = lambda name: None) -> None:
        self.assembly, self.devices = assembly, devices
        c = assembly.config
        self.model = assembly.model.clone(scanned=scans(c.model))
        """The net. For a scan over blocks, the variables of equal blocks are stacked."""
        phase("placing the images")
        self._feed = feed(c.data, assembly.dataset, devices, c.seed)
        self.place = self._feed.place
        """For messages: where the images are, and their size."""
        self.steps_per_dispatch = self._steps_per_dispatch()
        _, augmentation_key = run_keys(c.seed)
        self._key = devices.replicate(augmentation_key)
        self._order: Iterator[Batch] = iter(())
        self._next_step = -1  # the step of the next batch of `_order`
        self._predictor = Predictor(devices, self.model, assembly.normalization, c.model.precision)
        self._where = "the start"  # position, for the other processes
        # Compiled before the loop, so that a later call with another shape is an error and not a second compilation.
        start = time.monotonic()
        state = self.put(assembly.blank)
        phase("compiling")
        with jax.default_matmul_precision(c.model.precision):
            steps = Steps(assembly, self.model, devices, self._feed)
            self._train = {n: steps.train(state, self._key, n) for n in sorted({1, self.steps_per_dispatch})}
            self._eval = steps.evaluate(state)
        self.compile_s = time.monotonic() - start

    @property
    def waited_s(self) -> float | None:
        """Seconds that this process has waited for images to be decoded; None if they are in memory."""
        train = self.assembly.dataset.train
        return train.waited_s if isinstance(train, StreamSource) else None

    def put(self, state: TrainState) -> TrainState:
        """Sends a state to the devices; it must be on the host, with one subtree of variables for each block."""
        placed: TrainState = self.devices.replicate_state(self.to_layout(state))
        return placed

    def fetch(self, state: TrainState) -> TrainState:
        """Waits for a state, and returns it on the host, with one subtree of variables for each block."""
        host: TrainState = self.from_layout(self.devices.fetch(state))
        return host

    def to_layout(self, tree: Any) -> Any:
        """Converts variables on the host, with one subtree for each block, to variables of `model`.

        If `model` scans over blocks, the variables of equal blocks are stacked. Otherwise nothing changes.
        """
        return stack(tree, self.model.config) if self.model.scanned else tree

    def from_layout(self, tree: Any) -> Any:
        """Converts variables of `model`, on the host, to one subtree for each block: the inverse of `to_layout`."""
        return unstack(tree, self.model.config) if self.model.scanned else tree

    def steps_at_once(self, steps: int) -> int:
        """The number of steps in the next dispatch, if `steps` are left before the host must do other work."""
        return self.steps_per_dispatch if steps >= self.steps_per_dispatch else 1

    def train(self, state: TrainState, steps: range) -> tuple[TrainState, StepReport]:
        """Dispatches train steps, and returns before they are computed.

        Args:
          state: the state on the devices before the steps; it is invalid after the call.
          steps: the numbers of the steps, counted from 0: one step, or `steps_per_dispatch` steps. The numbers
            determine the examples.

        Returns:
          The state after the steps, and a report for all steps, both on the devices; `reports` divides the report.
        """
        return self.train_on(state, self._batches(steps))

    def train_on(self, state: TrainState, batches: Sequence[Batch]) -> tuple[TrainState, StepReport]:
        """Does the same as `train`, with given batches: one batch, or `steps_per_dispatch` batches.

        With several processes, a batch has only the rows of this process.
        """
        stacked = len(batches) > 1
        batch = batches[0]
        if stacked:
            batch = Batch(np.stack([b.index for b in batches]), np.stack([b.epoch for b in batches]))  # [K, B]
        at = self.devices.shard(self._feed.train(batch), stacked=stacked)
        processes.report(self._where)
        new, report = self._train[len(batches)](state, at, self._key, *self._feed.fixed)
        return new, report

    def reports(self, report: StepReport, steps: int) -> list[StepReport]:
        """Waits for the report of a dispatch of `steps` steps, and returns one report for each step, on the host."""
        host: StepReport = self.devices.fetch(report)
        return [host] if steps == 1 else [jax.tree.map(lambda x, i=i: x[i], host) for i in range(steps)]

    def evaluate(self, state: TrainState, split: str) -> Totals:
        """Loss and error on all examples of a split ("train", "validation" or "test"), in eval mode.

        Raises:
          Miscounted: the host or the devices did not count each example exactly once.
        """
        size = len(getattr(self.assembly.dataset, split))
        pending: deque[Sums] = deque()
        totals, tally = Totals(), Tally(split, size)
        c = self.assembly.config.train
        own = self.devices.rows(padded(c.eval_batch_size, self.devices.count))
        batches = eval_batches(size, c.eval_batch_size, self.devices.count)
        batches = announced(batches, lambda batch: self._feed.begin_evaluate(split, batch[0][own]), BATCHES_AHEAD)
        for index, weight in batches:
            processes.report(f"the evaluation on {split}")
            at = self.devices.shard(self._feed.evaluate(split, index[own], weight[own]))
            processes.report(f"the evaluation on {split}")
            pending.append(self._eval(state, at, *self._feed.fixed))
            tally.add(index, weight)
            if len(pending) > STEPS_AHEAD:
                totals.add(self.devices.fetch(pending.popleft()))
        for sums in pending:
            totals.add(self.devices.fetch(sums))
        tally.check(totals)
        return totals

    def evaluate_by_protocol(self, state: TrainState) -> Totals:
        """Loss and error on the test set by `data.protocol`, such as ten crops.

        Raises:
          Miscounted: a pass of the protocol did not use every image exactly once.
          UserError: an image cannot be read.
        """
        c, data = self.assembly.config, self.assembly.dataset
        assert isinstance(data.test, StreamSource), "checked by DataConfig"
        net = evaluated(state, c.optim)
        variables = {"params": net.params, "batch_stats": net.batch_stats}
        found = by_protocol(
            functools.partial(self._predictor, variables),
            data.test,
            passes(c.data),
            devices=self.devices,
            classes=data.num_classes,
            batch_size=c.train.eval_batch_size,
        )
        return score(found, data.test.labels)

    def memory(self) -> tuple[int, int] | None:
        """The memory of a train step on each device, in bytes: its arguments, and its temporary arrays.

        The arguments are the state, and the images if they are on the device. None if the compiler gives no figures.
        """
        found = self._train[1].memory_analysis()
        return None if found is None else (found.argument_size_in_bytes, found.temp_size_in_bytes)

    def _batches(self, steps: range) -> list[Batch]:
        c = self.assembly.config
        if steps.start != self._next_step:
            size, examples = c.train.batch_size, len(self.assembly.dataset.train)
            own = self.devices.rows(size)
            order = training_batches(seed=c.seed, examples=examples, batch_size=size, first_step=steps.start)
            rows = (Batch(batch.index[own], batch.epoch[own]) for batch in order)
            self._order = announced(rows, self._feed.begin_train, BATCHES_AHEAD)
        self._next_step = steps.stop
        self._where = f"step {steps.start}"
        processes.report(self._where)
        return list(itertools.islice(self._order, len(steps)))

    def _steps_per_dispatch(self) -> int:
        """The number of steps per dispatch: `train.steps_per_dispatch`, with "auto" replaced by a number.

        It is not larger than the number of steps in an epoch, between two checkpoints, or in the run.
        """
        c = self.assembly.config.train
        # With images on the host, K steps need K batches of images at once.
        one_by_one = self.devices.first.platform == "cpu" or not self._feed.fixed
        chosen = c.steps_per_dispatch
        if chosen == "auto":
            chosen = CPU_DISPATCH if one_by_one else ACCELERATOR_DISPATCH
        epoch = len(self.assembly.dataset.train) // c.batch_size
        return min(chosen, max(1, min(c.iterations, epoch, c.checkpoint_steps or c.iterations)))


def prepare(
    config: ExperimentConfig,
    note: Note = lambda text: None,
    *,
    dataset: Dataset | None = None,
    phase: Note = lambda name: None,
) -> Program:
    """Loads the data of a run and compiles its steps: `assemble`, then Program.

    `phase` is called with the name of each part of the work when it begins, such as "compiling". The other arguments
    are those of `assemble`.

    Raises:
      UserError: there are too few devices, the processes have different data, or `assemble` fails.
    """

    def begin(part: str) -> None:
        processes.set_up(part)
        phase(part)

    devices = check_machine(config)
    begin("loading the data")
    assembly = assemble(config, note, dataset=dataset)
    pretrained = assembly.pretrained
    # Compared again, because in a sweep the processes compared only the common part of its configurations.
    processes.require_alike(
        {"the data": assembly.dataset.fingerprint, "finetune.weights": pretrained and pretrained.facts.digest}, config
    )
    return Program(assembly, devices, begin)
