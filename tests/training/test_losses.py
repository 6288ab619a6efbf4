"""Losses against their definitions, in NumPy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from resnet_jax.training.losses import cross_entropy

LOGITS = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2], np.int32)


def test_cross_entropy_by_its_definition() -> None:
    p = np.exp(LOGITS.astype(np.float64))
    expected = -np.log(p[np.arange(7), LABELS] / p.sum(axis=1))
    np.testing.assert_allclose(cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS)), expected, rtol=1e-5)
