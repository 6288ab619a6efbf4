"""The learning rate as a function of the step: drops at milestones or half a cosine, optionally after a warm-up.

All rates are known before the run, with one exception: the warm-up "error" ends when the training error is low enough.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from resnet_jax.config import OptimConfig


class RateState(NamedTuple):
    """The state of the schedule, inside the optimizer state."""

    steps: Array
    """Number of completed steps, int32."""
    rate: Array
    """The rate of the last step."""
    running_error: Array
    """Running estimate of the training error, a fraction; starts at 1."""
    warm: Array
    """bool: whether the warm-up has ended."""


def rate_after_warm_up(config: OptimConfig, iterations: int | None) -> Callable[[Array, Any], Array]:
    """The rate after the warm-up, as a function of the number of completed steps (int32 array) and a dtype.

    `config.schedule` chooses the formula:

    - "steps": learning_rate * decay_factor ** (number of milestones passed). Milestones count from the first step.
    - "cosine": learning_rate * (1 + cos(pi t / T)) / 2. Here t is the number of completed steps, and T is the number of
      all steps (`iterations`). If the warm-up has a fixed length, t and T count only the steps after it.

    Milestones and warm-up in `config` must be in iterations. Only "cosine" needs `iterations`.
    """
    if config.schedule == "cosine":
        assert iterations is not None
        start = config.warmup_iterations if config.warmup in ("iterations", "linear") else 0
        cosine = optax.cosine_decay_schedule(config.learning_rate, max(1, iterations - int(start)))
        return lambda steps, dtype: jnp.asarray(cosine((steps - int(start)).astype(dtype)), dtype)
    assert all(isinstance(m, int) for m in config.milestones), "milestones must be in iterations"
    table = [config.learning_rate * config.decay_factor**i for i in range(len(config.milestones) + 1)]

    def dropping(steps: Array, dtype: Any) -> Array:
        passed = sum((steps >= m).astype(jnp.int32) for m in config.milestones)
        return jnp.asarray(table, dtype)[passed]

    return dropping


def rate_in_warm_up(config: OptimConfig) -> Callable[[Array, Any], Array]:
    """The rate in the warm-up, as a function of the number of completed steps (int32 array) and a dtype.

    `config.warmup` chooses the rate. With "linear", it rises linearly from `warmup_rate`, and reaches `learning_rate`
    at the first step after the warm-up. With the other kinds of warm-up, it is always `warmup_rate`.
    """
    if config.warmup == "linear":
        line = optax.linear_schedule(config.warmup_rate, config.learning_rate, int(config.warmup_iterations))
        return lambda steps, dtype: jnp.asarray(line(steps.astype(dtype)), dtype)
    return lambda steps, dtype: jnp.asarray(config.warmup_rate, dtype)


def rates(config: OptimConfig, iterations: int, steps: Sequence[int]) -> list[float]:
    """The learning rate after each of the given numbers of completed steps. Ignores the warm-up "error".

    Milestones and warm-up in `config` must be in iterations.
    """
    done = jnp.asarray(steps, jnp.int32)
    after = jax.vmap(lambda step: rate_after_warm_up(config, iterations)(step, jnp.float32))(done)
    if config.warmup in ("iterations", "linear"):
        before = jax.vmap(lambda step: rate_in_warm_up(config)(step, jnp.float32))(done)
        after = jnp.where(done < config.warmup_iterations, before, after)
    return [float(rate) for rate in after]


def scheduled_rate(config: OptimConfig, iterations: int | None = None) -> optax.GradientTransformationExtraArgs:
    """An optax transformation that multiplies updates by minus the learning rate.

    The rate is `rate_in_warm_up` until the warm-up ends, and then `rate_after_warm_up`. The end of the warm-up depends
    on `config.warmup`:

    - "iterations" (He et al. 2016, Appendix) and "linear": after `warmup_iterations` steps;
    - "error" (He et al. 2015, Sec. 4.2): when the running estimate of the training error falls below `warmup_error`.
      The estimate includes the current batch.

    Milestones and warm-up in `config` must be in iterations. Only the schedule "cosine" needs `iterations`.
    """
    usual, warming = rate_after_warm_up(config, iterations), rate_in_warm_up(config)

    def init(params: optax.Params) -> RateState:
        dtype = jax.tree.leaves(params)[0].dtype
        return RateState(
            steps=jnp.zeros((), jnp.int32),
            rate=jnp.zeros((), dtype),
            running_error=jnp.ones((), dtype),
            warm=jnp.asarray(config.warmup == "none"),
        )

    def update(
        updates: optax.Updates, state: RateState, params: optax.Params | None = None, *, error: Array, **_: Any
    ) -> tuple[optax.Updates, RateState]:
        del params
        dtype = state.rate.dtype
        s = config.warmup_smoothing
        running_error = s * state.running_error + (1.0 - s) * error.astype(dtype)
        if config.warmup == "error":
            warm = state.warm | (running_error < config.warmup_error)
        else:
            warm = state.warm | (state.steps >= config.warmup_iterations)
        rate = jnp.where(warm, usual(state.steps, dtype), warming(state.steps, dtype))
        updates = jax.tree.map(lambda u: -rate * u, updates)
        return updates, RateState(state.steps + 1, rate, running_error, warm)

    return optax.GradientTransformationExtraArgs(init, update)


def schedule_rows(config: OptimConfig, iterations: int) -> dict[str, str]:
    """Rows about the learning rate, for the table of a run of `iterations` steps: {"rate": text, "warm-up": text}.

    The row "warm-up" is left out if the run has no warm-up. If there are milestones that the run never reaches, the
    row "rate" points them out, because a user who shortens a run may forget to move them.
    """
    config = config.in_iterations(iterations)
    if config.schedule == "cosine":
        return {"rate": f"{config.learning_rate:g} to 0 along half a cosine, {iterations:,} steps"} | _warm_up(config)
    reached = [f"{m:,}" for m in config.milestones if m < iterations]
    beyond = [f"{m:,}" for m in config.milestones if m >= iterations]
    drops = f", times {config.decay_factor:g} after {' and '.join(reached)} of" if reached else " for all"
    never = f"; milestones never reached: {', '.join(beyond)}" if beyond else ""
    return {"rate": f"{config.learning_rate:g}{drops} {iterations:,} steps{never}"} | _warm_up(config)


def _warm_up(config: OptimConfig) -> dict[str, str]:
    if config.warmup == "none":
        return {}
    ends = {
        "iterations": f"for {config.warmup_iterations:,} steps",
        "linear": f"to {config.learning_rate:g} in {config.warmup_iterations:,} steps, a line",
        "error": f"until the training error is below {100.0 * config.warmup_error:g}%",
    }
    return {"warm-up": f"{config.warmup_rate:g} {ends[config.warmup]}"}


def rate_state(opt_state: optax.OptState) -> RateState:
    """The state of the schedule inside an optimizer state of `sgd`."""
    state = opt_state[-1]  # optax.chain's state is a tuple, in the order of the chain
    assert isinstance(state, RateState)
    return state
