"""The loss of each example."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Softmax cross-entropy in nats of each example: logits [N, K], labels [N] int32 -> [N]."""
    loss: Array = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return loss


def smoothed_cross_entropy(logits: Array, labels: Array, smoothing: float) -> Array:
    """Cross-entropy with the target 1 - smoothing for the label, plus smoothing / K for each of the K classes.

    Szegedy et al. 2016 (arXiv 1512.00567), Sec. 7. Shapes are those of `cross_entropy`, which has smoothing 0.
    """
    if smoothing == 0.0:
        return cross_entropy(logits, labels)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype), smoothing)
    loss: Array = optax.softmax_cross_entropy(logits, targets)
    return loss


def mixed_cross_entropy(logits: Array, labels: Array, others: Array, share: Array, smoothing: float) -> Array:
    """The loss of mixed images: the losses of both labels, weighted by their shares of the image.

    Args:
      logits: [N, K].
      labels, others: [N] int32, the labels of the two images of a mixture.
      share: [N], the share of the first.
      smoothing: as for `smoothed_cross_entropy`.

    Returns:
      [N]
    """
    share = share.astype(logits.dtype)
    own, other = (smoothed_cross_entropy(logits, target, smoothing) for target in (labels, others))
    return share * own + (jnp.ones_like(share) - share) * other
