"""SGD against its formulas, step by step in NumPy."""

from __future__ import annotations

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
