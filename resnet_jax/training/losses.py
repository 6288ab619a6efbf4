"""The loss of each example."""

import jax
import jax.numpy as jnp
import optax
from jax import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Softmax cross-entropy of each example, in nats: logits [N, K], labels [N] int32 -> [N]."""
    loss: Array = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return loss


def smoothed_cross_entropy(logits: Array, labels: Array, smoothing: float) -> Array:
    """Cross-entropy of each example with smoothed targets, in nats: logits [N, K], labels [N] int32 -> [N].

    The target of each of the K classes is smoothing / K, plus 1 - smoothing for the label (Szegedy et al. 2016, arXiv
    1512.00567, Sec. 7).
    """
    if smoothing == 0.0:
        return cross_entropy(logits, labels)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype), smoothing)
    loss: Array = optax.softmax_cross_entropy(logits, targets)
    return loss


def mixed_cross_entropy(logits: Array, labels: Array, others: Array, share: Array, smoothing: float) -> Array:
    """The loss of mixed images, in nats: share * loss of `labels` + (1 - share) * loss of `others`.

    Args:
      logits: [N, K].
      labels: [N] int32, the label of the first image of each mixture.
      others: [N] int32, the label of the second image.
      share: [N], the share of the first image, between 0 and 1.
      smoothing: label smoothing, as in `smoothed_cross_entropy`.

    Returns:
      [N]
    """
    share = share.astype(logits.dtype)
    own, other = (smoothed_cross_entropy(logits, target, smoothing) for target in (labels, others))
    return share * own + (jnp.ones_like(share) - share) * other
