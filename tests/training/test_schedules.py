"""The rate of each step against the papers' schedules, written out by hand."""

import dataclasses
import math

import jax.numpy as jnp
import pytest

from resnet_jax.config import OptimConfig
from resnet_jax.training.optim import sgd
from resnet_jax.training.schedules import rate_state, rates, schedule_rows


def stepped(config: OptimConfig, errors: list[float]) -> list[float]:
    """The rate of each step when the batches' errors are these."""
    optimizer = sgd(config, iterations=len(errors))
    params = {"w": jnp.ones(2)}
    state = optimizer.init(params)
    seen = []
    for error in errors:
        _, state = optimizer.update({"w": jnp.ones(2)}, state, params, error=jnp.asarray(error, jnp.float32))
        seen.append(round(float(rate_state(state).rate), 7))
    return seen


def test_the_papers_schedule_in_iterations() -> None:
    # He et al. 2015, Sec. 4.2: 0.1, divided by 10 at 32k and 48k; here a thousandth of it.
    config = OptimConfig(milestones=(32, 48))
    assert stepped(config, [0.5] * 64) == [0.1] * 32 + [0.01] * 16 + [0.001] * 16


def test_warmup_by_iterations() -> None:
    config = OptimConfig(warmup="iterations", warmup_iterations=4, milestones=(6,))
    assert stepped(config, [0.9] * 8) == [0.01] * 4 + [0.1] * 2 + [0.01] * 2


def test_warmup_by_error_ends_when_the_estimate_falls_below_and_never_returns() -> None:
    config = OptimConfig(warmup="error", warmup_error=0.8, warmup_smoothing=0.5, milestones=())
    errors = [0.9, 0.8, 0.7, 0.6, 1.0, 1.0, 1.0]
    # By hand: the estimate goes 0.95, 0.875, 0.7875 (below), ...; the third step's own batch counts.
    assert stepped(config, errors) == [0.01, 0.01] + [0.1] * 5


def test_milestones_count_from_the_first_step_in_a_warmup_too() -> None:
    config = OptimConfig(warmup="error", warmup_error=0.8, warmup_smoothing=0.0, milestones=(2,))
    assert stepped(config, [0.9, 0.9, 0.9, 0.1, 0.1]) == [0.01, 0.01, 0.01, 0.01, 0.01]
    assert stepped(config, [0.9, 0.1, 0.1, 0.1, 0.1]) == [0.01, 0.1, 0.01, 0.01, 0.01]


def test_the_warmup_lives_in_the_optimizer_state() -> None:
    optimizer = sgd(OptimConfig(warmup="error"))
    state = rate_state(optimizer.init({"w": jnp.ones(1)}))
    assert not state.warm
    assert state.running_error == 1.0
    assert rate_state(sgd(OptimConfig()).init({"w": jnp.ones(1)})).warm


def test_the_schedule_in_words_names_the_milestones_that_a_run_never_reaches() -> None:
    config = OptimConfig(milestones=(800, 1_200))
    assert schedule_rows(config, 1_600) == {"rate": "0.1, times 0.1 after 800 and 1,200 of 1,600 steps"}
    # The step with the number of a milestone is the first with the lower rate, and steps count from 0.
    dropped = stepped(dataclasses.replace(config, milestones=(2, 3)), [0.5] * 3)
    assert dropped == pytest.approx([0.1, 0.1, 0.01])
    short = schedule_rows(dataclasses.replace(config, milestones=(2, 3)), 3)
    assert short == {"rate": "0.1, times 0.1 after 2 of 3 steps; milestones never reached: 3"}
    assert schedule_rows(config, 12) == {"rate": "0.1 for all 12 steps; milestones never reached: 800, 1,200"}
    assert schedule_rows(OptimConfig(milestones=()), 12) == {"rate": "0.1 for all 12 steps"}


def test_the_schedule_in_words_has_the_warm_up() -> None:
    assert schedule_rows(OptimConfig(warmup="error"), 64_000) == {
        "rate": "0.1, times 0.1 after 32,000 and 48,000 of 64,000 steps",
        "warm-up": "0.01 until the training error is below 80%",
    }
    assert schedule_rows(OptimConfig(warmup="iterations"), 64_000)["warm-up"] == "0.01 for 400 steps"


def test_a_cosine_falls_from_the_rate_to_nothing() -> None:
    config = OptimConfig(learning_rate=0.2, schedule="cosine")
    expected = [0.1 * (1.0 + math.cos(math.pi * t / 10)) for t in range(10)]
    assert stepped(config, [0.5] * 10) == pytest.approx(expected, abs=1e-7)
    assert stepped(config, [0.5])[0] == pytest.approx(0.2)


def test_a_line_leads_up_to_the_rate_and_the_cosine_begins_there() -> None:
    config = OptimConfig(schedule="cosine", warmup="linear", warmup_rate=0.02, warmup_iterations=4)
    line = [0.02 + 0.08 * t / 4 for t in range(4)]
    cosine = [0.05 * (1.0 + math.cos(math.pi * t / 6)) for t in range(6)]
    assert stepped(config, [0.5] * 10) == pytest.approx(line + cosine, abs=1e-7)


def test_a_line_and_the_papers_drops() -> None:
    config = OptimConfig(milestones=(6,), warmup="linear", warmup_rate=0.02, warmup_iterations=4)
    assert stepped(config, [0.5] * 8) == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.01, 0.01], abs=1e-7)


def test_after_a_warm_up_of_unknown_length_the_cosine_counts_from_the_first_step() -> None:
    config = OptimConfig(schedule="cosine", warmup="error", warmup_error=0.8, warmup_smoothing=0.0)
    found = stepped(config, [0.9, 0.9, 0.1, 0.1])
    cosine = [0.05 * (1.0 + math.cos(math.pi * t / 4)) for t in range(4)]
    assert found == pytest.approx([0.01, 0.01, *cosine[2:]], abs=1e-7)


@pytest.mark.parametrize("schedule", ["steps", "cosine"])
@pytest.mark.parametrize("warmup", ["none", "iterations", "linear"])
def test_the_rates_of_a_plot_are_those_of_the_steps(schedule: str, warmup: str) -> None:
    shares = {"milestones": (0.5, 0.75)} if schedule == "steps" else {}
    length = {"warmup_iterations": 0.2} if warmup != "none" else {}
    config = OptimConfig(schedule=schedule, warmup=warmup, **shares, **length).in_iterations(20)  # type: ignore[arg-type]
    assert rates(config, 20, range(20)) == pytest.approx(stepped(config, [0.5] * 20), abs=1e-7)


def test_the_schedule_in_words_knows_the_cosine_the_line_and_shares() -> None:
    config = OptimConfig(schedule="cosine", warmup="linear", warmup_rate=0.02, warmup_iterations=0.05)
    assert schedule_rows(config, 240) == {
        "rate": "0.1 to 0 along half a cosine, 240 steps",
        "warm-up": "0.02 to 0.1 in 12 steps, a line",
    }
    shares = OptimConfig(milestones=(0.5, 0.75))
    assert schedule_rows(shares, 1_600) == {"rate": "0.1, times 0.1 after 800 and 1,200 of 1,600 steps"}
