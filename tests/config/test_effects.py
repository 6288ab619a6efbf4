"""What roles say of effects is true: a field without effect leaves the program as it is, another one changes it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import ExperimentConfig, from_dict, override, to_dict
from resnet_jax.models.resnet import build
from resnet_jax.training import optim

from .test_roles import BASE, CASES

IMAGES = jnp.zeros((2, 4, 4, 1), jnp.float32)
NETS = [case for case in CASES if case[0].startswith("model.") and "norm" not in case[0]]
RATES = [case for case in CASES if case[0].startswith("optim.") and "ema" not in case[0]]


def with_value(config: ExperimentConfig, name: str, value: Any) -> ExperimentConfig:
    """Not settled, as a record of an earlier version may be."""
    values: Any = to_dict(config)
    *sections, last = name.split(".")
    place = values
    for section in sections:
        place = place[section]
    place[last] = value
    return from_dict(values)


def program(config: ExperimentConfig) -> str:
    """Initial values and forward pass of a net, as JAX traces them."""
    model = build(config.model)
    return str(jax.make_jaxpr(lambda key: model.init_with_output(key, IMAGES, train=False))(jax.random.key(0)))


def updates(config: ExperimentConfig) -> list[float]:
    """What the optimizer makes of a gradient of 1 at each of 15 steps, while the training error falls from 1 to 0."""
    iterations = config.train.iterations
    optimizer: Any = optim.sgd(config.optim.in_iterations(iterations), iterations=iterations)
    params = {"bias": jnp.ones(())}
    state, found = optimizer.init(params), []
    for error in np.linspace(1.0, 0.0, 15):
        update, state = optimizer.update({"bias": jnp.ones(())}, state, params, error=jnp.float32(error))
        found.append(float(update["bias"]))
    return found


@pytest.mark.parametrize(("name", "value", "used", "unused"), NETS)
def test_a_field_of_the_net_changes_the_program_where_it_has_an_effect_and_nowhere_else(
    name: str, value: Any, used: dict[str, Any], unused: dict[str, Any]
) -> None:
    for settings, effect in ((used, True), (unused, False)):
        depth = 11 if "bottleneck" in settings.values() else 8
        small = {"model.depth": depth, "model.width": 2, "model.num_classes": 3}
        config = override(BASE, {**settings, **small})
        assert (program(with_value(config, name, value)) != program(config)) == effect, settings


@pytest.mark.parametrize(("name", "value", "used", "unused"), RATES)
def test_a_field_of_the_rate_changes_the_updates_where_it_has_an_effect_and_nowhere_else(
    name: str, value: Any, used: dict[str, Any], unused: dict[str, Any]
) -> None:
    for settings, effect in ((used, True), (unused, False)):
        config = override(BASE, settings)
        assert (updates(with_value(config, name, value)) != updates(config)) == effect, settings
