"""Exponential average of the parameters over the training steps.

After t steps with parameters w_1, ..., w_t, the average is a weighted mean. Each later step multiplies the weight of an
earlier step by d:

    a_t = sum_s d^(t - s) w_s / sum_s d^(t - s)      so that      a_t = a_(t-1) + (1 - d) / (1 - d^t) (w_t - a_(t-1))

The initial values have no weight: this is the bias correction of Kingma and Ba 2015 (arXiv 1412.6980, Sec. 3). When d^t
is small, the newest step has the weight 1 - d, as in a usual moving average. With d = 0 the average is w_t.

The running statistics of BN are averaged with the same weights, so that they fit the averaged parameters.
"""

import math

import jax
import jax.numpy as jnp
import optax
from jax import Array

from resnet_jax.config import OptimConfig
from resnet_jax.training.state import AveragedState, TrainState
from resnet_jax.types import Tree


def start(state: TrainState) -> AveragedState:
    """Adds the average to an initial state. It begins as a copy of the parameters and running statistics."""
    average = jax.tree.map(lambda leaf: leaf.copy(), {"params": state.params, "batch_stats": state.batch_stats})
    return AveragedState(state.step, state.params, state.batch_stats, state.opt_state, average)


def update(average: Tree, params: Tree, batch_stats: Tree, step: Array, decay: float) -> Tree:
    """Returns the average after a step: {"params": ..., "batch_stats": ...}.

    Args:
      average: the average before the step.
      params, batch_stats: the values after the step.
      step: the number of steps, including this one; an int32 scalar.
      decay: the factor d. A step multiplies the weights of all earlier steps by d.
    """

    log = math.log(decay) if decay > 0.0 else -math.inf

    def one(new: Array, old: Array) -> Array:
        # 1 - d^t, computed without the loss of precision of a difference of numbers near 1.
        weight = jnp.asarray(1.0 - decay, new.dtype) / -jnp.expm1(step.astype(new.dtype) * log)
        mean: Array = optax.incremental_update(new, old, weight)
        # Otherwise, unchanged parameters, such as those of a frozen stage, would change by rounding.
        return jnp.where(new == old, old, mean)

    updated: Tree = jax.tree.map(one, {"params": params, "batch_stats": batch_stats}, average)
    return updated


def evaluated(state: TrainState, config: OptimConfig) -> TrainState:
    """Returns `state` with the parameters and running statistics that are evaluated and saved.

    They are the averages if `config.ema_evaluated` is set, and otherwise the values after the last step.
    """
    if not isinstance(state, AveragedState) or not config.ema_evaluated:
        return state
    averaged: TrainState = state.replace(**state.average)
    return averaged


def with_batch_stats(state: TrainState, config: OptimConfig, batch_stats: Tree) -> TrainState:
    """Returns `state` with `batch_stats` in place of the running statistics that `evaluated` selects."""
    changed: TrainState
    if isinstance(state, AveragedState) and config.ema_evaluated:
        changed = state.replace(average={**state.average, "batch_stats": batch_stats})
    else:
        changed = state.replace(batch_stats=batch_stats)
    return changed
