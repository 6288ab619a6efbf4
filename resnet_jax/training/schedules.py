"""The learning rate over a run: drops at milestones, warm-ups, and the same in words."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from resnet_jax.config import OptimConfig

Array = jax.Array


class RateState(NamedTuple):
    """Of the schedule, inside the optimizer state."""

    steps: Array
    """Steps done, int32."""
    rate: Array
    """The rate of the last step."""
    running_error: Array
    """Running estimate of training error, a fraction; from 1."""
    warm: Array
    """bool: the warm-up is over, for good."""


def scheduled_rate(config: OptimConfig) -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by minus the rate.

    The rate is `learning_rate * decay_factor ** (milestones passed)`; in a warm-up it is `warmup_rate` instead:
    for the first `warmup_iterations` ("iterations"; He et al. 2016, Appendix), or until the running estimate of
    training error, the current batch included, falls below `warmup_error` ("error"; 2015, Sec. 4.2). Milestones
    count from the first step in either case.
    """
    table = [config.learning_rate * config.decay_factor**i for i in range(len(config.milestones) + 1)]

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
        passed = sum((state.steps >= m).astype(jnp.int32) for m in config.milestones)
        rate = jnp.asarray(table, dtype)[passed]
        rate = jnp.where(warm, rate, jnp.asarray(config.warmup_rate, dtype))
        updates = jax.tree.map(lambda u: -rate * u, updates)
        return updates, RateState(state.steps + 1, rate, running_error, warm)

    return optax.GradientTransformationExtraArgs(init, update)


def schedule_rows(config: OptimConfig, iterations: int) -> dict[str, str]:
    """The rate over a run of `iterations` steps, for people: rows for the rate and, where there is one, the warm-up.

    A milestone that the run never reaches is said to be one: a shortened run whose rate never drops is a usual mistake.
    """
    reached = [f"{m:,}" for m in config.milestones if m < iterations]
    beyond = [f"{m:,}" for m in config.milestones if m >= iterations]
    drops = f", times {config.decay_factor:g} after {' and '.join(reached)} of" if reached else " for all"
    never = f"; milestones never reached: {', '.join(beyond)}" if beyond else ""
    rows = {"rate": f"{config.learning_rate:g}{drops} {iterations:,} steps{never}"}
    if config.warmup != "none":
        ends = {
            "iterations": f"for {config.warmup_iterations:,} steps",
            "error": f"until the training error is below {100.0 * config.warmup_error:g}%",
        }
        rows["warm-up"] = f"{config.warmup_rate:g} {ends[config.warmup]}"
    return rows


def rate_state(opt_state: optax.OptState) -> RateState:
    """The schedule's part of the state of `sgd`."""
    state = opt_state[-1]  # optax.chain's state is a tuple, in the order of the chain
    assert isinstance(state, RateState)
    return state
