"""The loss of each example."""

from __future__ import annotations

import jax
import optax

Array = jax.Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Softmax cross-entropy in nats of each example: logits [N, K], labels [N] int32 -> [N]."""
    loss: Array = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return loss
