"""SGD against its formulas, step by step in NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import OptimConfig
from resnet_jax.training.optim import sgd


@pytest.mark.usefixtures("x64")
def test_sgd_equals_its_formulas() -> None:
    config = OptimConfig(learning_rate=0.1, momentum=0.9, weight_decay=1e-2, milestones=(2, 3), decay_factor=0.5)
    optimizer = sgd(config)
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(3, 2)), np.zeros((3, 2))
    params: Any = {"conv": {"kernel": jnp.asarray(w)}, "norm": {"scale": jnp.asarray(w[0])}}
    scale, scale_v = w[0].copy(), np.zeros(2)
    state = optimizer.init(params)
    for step, rate in enumerate([0.1, 0.1, 0.05, 0.025, 0.025]):
        g = rng.normal(size=(3, 2))
        grads = {"conv": {"kernel": jnp.asarray(g)}, "norm": {"scale": jnp.asarray(g[1])}}
        updates, state = optimizer.update(grads, state, params, error=jnp.asarray(0.5))
        params = jax.tree.map(jnp.add, params, updates)
        v = 0.9 * v + (g + 1e-2 * w)
        w = w - rate * v
        # Decay is on BN's parameters as well: the paper decays all.
        scale_v = 0.9 * scale_v + (g[1] + 1e-2 * scale)
        scale = scale - rate * scale_v
        np.testing.assert_allclose(params["conv"]["kernel"], w, rtol=1e-13, err_msg=f"step {step}")
        np.testing.assert_allclose(params["norm"]["scale"], scale, rtol=1e-13)


def by_hand(
    config: OptimConfig, w: np.ndarray, gradients: list[np.ndarray], *, decayed: bool, scales: list[float] | None = None
) -> np.ndarray:
    """A parameter after these gradients, each times its scale, by the formulas of the papers."""
    v = np.zeros_like(w)
    for i, g in enumerate(gradients):
        step = g * (scales[i] if scales else 1.0) + (config.weight_decay * w if decayed else 0.0)
        v = config.momentum * v + step
        w = w - config.learning_rate * (step + config.momentum * v if config.nesterov else v)
    return w


CHANGES: dict[str, dict[str, Any]] = {
    "nesterov": {"nesterov": True},
    "kernels": {"decayed": "kernels"},
    "clipping": {"clip_norm": 1.5},
    "together": {"nesterov": True, "decayed": "kernels", "clip_norm": 1.5},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.usefixtures("x64")
def test_ingredients_of_the_optimizer_equal_their_formulas(changes: dict[str, Any]) -> None:
    config = OptimConfig(learning_rate=0.1, momentum=0.9, weight_decay=0.1, milestones=(), **changes)
    rng = np.random.default_rng(1)
    values = {"conv": {"kernel": rng.normal(size=(3, 2))}, "norm": {"scale": rng.normal(size=2)}}
    values["head"] = {"kernel": rng.normal(size=(2, 2)), "bias": rng.normal(size=2)}
    # Long and short gradients, some of them below the norm to clip at.
    gradients = [jax.tree.map(lambda w, k=k: k * rng.normal(size=w.shape), values) for k in (3.0, 0.1, 1.0, 0.2)]
    norms = [np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(g))) for g in gradients]
    scales = [min(1.0, config.clip_norm / norm) if config.clip_norm else 1.0 for norm in norms]
    assert not config.clip_norm or (min(scales) < 0.5 and max(scales) == 1.0)
    optimizer = sgd(config)
    params: Any = jax.tree.map(jnp.asarray, values)
    state = optimizer.init(params)
    for g in gradients:
        updates, state = optimizer.update(jax.tree.map(jnp.asarray, g), state, params, error=jnp.asarray(0.5))
        params = jax.tree.map(jnp.add, params, updates)
    for module, leaves in values.items():
        for name, w in leaves.items():
            mine = [g[module][name] for g in gradients]
            decayed = config.decayed == "all" or name == "kernel"
            expected = by_hand(config, w, mine, decayed=decayed, scales=scales)
            np.testing.assert_allclose(params[module][name], expected, rtol=1e-12, err_msg=f"{module}/{name}")


LIMITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing is clipped": ({"clip_norm": 1e6}, {}),
    "no decay, whatever is decayed": ({"decayed": "kernels", "weight_decay": 0.0}, {"weight_decay": 0.0}),
    "no momentum, whosever": ({"nesterov": True, "momentum": 0.0}, {"momentum": 0.0}),
}


@pytest.mark.parametrize(("changes", "without"), LIMITS.values(), ids=LIMITS)
def test_the_limit_of_each_equals_the_optimizer_without_it_to_the_bit(
    changes: dict[str, Any], without: dict[str, Any]
) -> None:
    rng = np.random.default_rng(2)
    params = {"head": {"kernel": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32), "bias": jnp.ones(3)}}
    found = []
    for config in (OptimConfig(**changes), OptimConfig(**without)):
        optimizer, here, draw = sgd(config), params, np.random.default_rng(3)
        state = optimizer.init(here)
        for _ in range(4):
            grads = jax.tree.map(lambda w, draw=draw: jnp.asarray(draw.normal(size=w.shape), w.dtype), here)
            updates, state = optimizer.update(grads, state, here, error=jnp.asarray(0.5))
            here = jax.tree.map(jnp.add, here, updates)
        found.append([np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(here)])
    assert found[0] == found[1]
