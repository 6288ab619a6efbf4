"""Losses against their definitions, in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.training.losses import cross_entropy, mixed_cross_entropy, smoothed_cross_entropy

LOGITS = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2], np.int32)


def test_cross_entropy_by_its_definition() -> None:
    p = np.exp(LOGITS.astype(np.float64))
    expected = -np.log(p[np.arange(7), LABELS] / p.sum(axis=1))
    np.testing.assert_allclose(cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS)), expected, rtol=1e-5)


def by_definition(targets: np.ndarray) -> np.ndarray:
    """Cross-entropy of LOGITS with these targets [N, K], in float64."""
    logits = LOGITS.astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected: np.ndarray = -(targets * log_p).sum(axis=1)
    return expected


def smooth(labels: np.ndarray, smoothing: float) -> np.ndarray:
    targets: np.ndarray = (1.0 - smoothing) * np.eye(4)[labels] + smoothing / 4
    return targets


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
@pytest.mark.usefixtures("x64")
def test_smoothed_cross_entropy_by_its_definition(smoothing: float) -> None:
    found = smoothed_cross_entropy(jnp.asarray(LOGITS, jnp.float64), jnp.asarray(LABELS), smoothing)
    np.testing.assert_allclose(found, by_definition(smooth(LABELS, smoothing)), rtol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.usefixtures("x64")
def test_the_loss_of_mixed_images_is_that_of_the_mixed_targets(smoothing: float) -> None:
    others, share = LABELS[::-1].copy(), np.linspace(0.0, 1.0, 7)
    targets = share[:, None] * smooth(LABELS, smoothing) + (1.0 - share[:, None]) * smooth(others, smoothing)
    logits = jnp.asarray(LOGITS, jnp.float64)
    found = mixed_cross_entropy(logits, jnp.asarray(LABELS), jnp.asarray(others), jnp.asarray(share), smoothing)
    np.testing.assert_allclose(found, by_definition(targets), rtol=1e-12)


def test_without_smoothing_and_with_all_of_the_own_label_it_is_the_loss_of_the_paper_to_the_bit() -> None:
    logits, labels = jnp.asarray(LOGITS), jnp.asarray(LABELS)
    plain = np.asarray(cross_entropy(logits, labels)).tobytes()
    assert np.asarray(smoothed_cross_entropy(logits, labels, 0.0)).tobytes() == plain
    mixed = mixed_cross_entropy(logits, labels, labels[::-1], jnp.ones(7), 0.0)
    assert np.asarray(mixed).tobytes() == plain
