"""The train and eval steps of a run, compiled for its devices."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from resnet_jax.data.order import Batch, padded
from resnet_jax.models.resnet import ResNet
from resnet_jax.training.assemble import Assembly
from resnet_jax.training.ema import evaluated
from resnet_jax.training.feed import Feed
from resnet_jax.training.mesh import Devices
from resnet_jax.training.metrics import StepReport, Sums
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import eval_step, train_step


@dataclass(frozen=True)
class Steps:
    """Compiles the train and eval steps of a run."""

    assembly: Assembly
    model: ResNet
    """The net. For a scan over blocks, the variables of equal blocks are stacked."""
    devices: Devices
    feed: Feed

    def train(self, state: TrainState, key: jax.Array, steps: int) -> jax.stages.Compiled:
        """Compiles a program of K train steps, with signature (state, batch, key, *feed.fixed) -> (state, report).

        Args:
          state: any state of the run, on the devices; only its shapes are used.
          key: the random key for augmentation, on the devices.
          steps: K. Several steps run in a `lax.scan`, and the leaves of their report are stacked, [K, ...].

        Returns:
          The compiled program. Its argument `batch` is a result of `Feed.train`, sent by `Devices.shard`. The arguments
          `feed.fixed` are the same in every call; see Feed.
        """
        assembly, devices = self.assembly, self.devices
        c = assembly.config
        at_once = c.train.batch_size // c.train.accumulation
        scoped = self.model.clone(stats_scope=devices.batch_stats_scope(c.model.norm, at_once))

        # Do not rename the compiled function: XLA:CPU rounds differently under another name, which changes the last
        # bits.
        def train(state: TrainState, at: Any, key: jax.Array, *fixed: Any) -> tuple[TrainState, StepReport]:
            return train_step(
                state,
                self.feed.train_batch(at, *fixed),
                key,
                model=scoped,
                optimizer=assembly.optimizer,
                normalization=assembly.normalization,
                data=c.data,
                axis_name=devices.axis_name,
                parts=devices.parts(c.train.accumulation),
                report_gradients=c.train.gradient_norms_every > 0,
                label_smoothing=c.optim.label_smoothing,
                ema_decay=c.optim.ema,
            )

        def several(state: TrainState, at: Any, key: jax.Array, *fixed: Any) -> tuple[TrainState, StepReport]:
            # at: [K, B]
            result: tuple[TrainState, StepReport] = jax.lax.scan(lambda s, a: train(s, a, key, *fixed), state, at)
            return result

        stacked = steps > 1
        own = np.zeros(c.train.batch_size, np.int32)[devices.rows(c.train.batch_size)]
        zeros = np.stack([own] * steps) if stacked else own
        at = devices.shard(self.feed.train(Batch(zeros, zeros)), stacked=stacked)
        program = several if stacked else train
        return devices.compile(program, state, at, key, *self.feed.fixed, donate_state=True, stacked=stacked)

    def evaluate(self, state: TrainState) -> jax.stages.Compiled:
        """Compiles an eval step for states with the shapes of `state`.

        The compiled step has the arguments (state, batch, *feed.fixed) and returns Sums. Its `batch` is a result of
        `Feed.evaluate`, sent by `Devices.shard`; `Feed.fixed` are the images that stay on the devices.
        """

        def evaluate(state: TrainState, at: Any, *fixed: Any) -> Sums:
            batch, stats = self.feed.eval_batch(at, *fixed), self.assembly.normalization
            net = evaluated(state, self.assembly.config.optim)
            return eval_step(net, batch, model=self.model, normalization=stats, axis_name=self.devices.axis_name)

        size = padded(self.assembly.config.train.eval_batch_size, self.devices.count)
        zeros = np.zeros(size, np.int32)[self.devices.rows(size)]
        at = self.devices.shard(self.feed.evaluate("test", zeros, zeros.astype(np.float32)))
        return self.devices.compile(evaluate, state, at, *self.feed.fixed, donate_state=False)
