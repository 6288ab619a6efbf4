"""Loss and error are weighted sums over examples, never means of means."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.training.metrics import Totals, cross_entropy, weighted_sums

LOGITS = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2], np.int32)


def test_cross_entropy_by_its_definition() -> None:
    p = np.exp(LOGITS.astype(np.float64))
    expected = -np.log(p[np.arange(7), LABELS] / p.sum(axis=1))
    np.testing.assert_allclose(cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS)), expected, rtol=1e-5)


def test_padding_counts_nothing_even_where_its_loss_is_not_a_number() -> None:
    losses = jnp.asarray([1.0, 2.0, jnp.inf, jnp.nan])
    logits = jnp.asarray([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    sums = weighted_sums(losses, logits, jnp.asarray([0, 1, 0, 0]), jnp.asarray([1.0, 1.0, 0.0, 0.0]))
    assert (float(sums.loss), float(sums.errors), float(sums.examples)) == (3.0, 1.0, 2.0)


@pytest.mark.parametrize("sizes", [(7,), (4, 3), (1, 1, 5), (6, 1)])
def test_totals_do_not_depend_on_the_cut_into_batches(sizes: tuple[int, ...]) -> None:
    losses = cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS))
    totals = Totals()
    for start, size in zip(np.cumsum((0, *sizes[:-1])), sizes, strict=True):
        part = slice(int(start), int(start) + size)
        totals.add(weighted_sums(losses[part], jnp.asarray(LOGITS[part]), jnp.asarray(LABELS[part]), jnp.ones(size)))
    assert totals.examples == 7
    assert totals.errors == int((LOGITS.argmax(axis=1) != LABELS).sum())
    assert totals.mean_loss == pytest.approx(float(np.mean(losses)), rel=1e-6)
