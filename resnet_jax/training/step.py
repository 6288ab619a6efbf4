"""The train step and the eval step: pure functions, the same under jit, shard_map and pmap.

`axis_name` is the mapped axis of shard_map or pmap, over which gradients are averaged and sums summed. It is None
under jit, where each function sees the global batch even if a mesh of devices holds it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from resnet_jax.config import DataConfig
from resnet_jax.data import Normalization
from resnet_jax.data.augment import augment, normalize
from resnet_jax.models.resnet import ResNet
from resnet_jax.training.metrics import StepReport, Sums, cross_entropy, weighted_sums
from resnet_jax.training.optim import rate_state
from resnet_jax.training.state import TrainState

Array = jax.Array


class TrainBatch(NamedTuple):
    """Images [N, H, W, C] uint8, labels [N] int32, each example's epoch and position in the training set [N] int32.

    On the devices, or on the host before they are sent; so are those of an EvalBatch.
    """

    images: Any
    labels: Any
    epoch: Any
    example: Any


class EvalBatch(NamedTuple):
    """Images [N, H, W, C] uint8, labels [N] int32, weight [N] float32: 1, or 0 for padding."""

    images: Any
    labels: Any
    weight: Any


def train_step(
    state: TrainState,
    batch: TrainBatch,
    key: Array,
    *,
    model: ResNet,
    optimizer: optax.GradientTransformationExtraArgs,
    normalization: Normalization,
    data: DataConfig,
    axis_name: str | None = None,
) -> tuple[TrainState, StepReport]:
    """One step of SGD on a full batch.

    Args:
      state: before the step.
      batch: this device's examples (all of them under jit).
      key: of the run's augmentation, the same at every step: an example's draw depends on its epoch and itself.
      model: with its BN scope set for how this function is mapped.

    Returns:
      The state after the step, and the step's report: sums over the global batch, in train mode, before the update.
    """
    images = _inputs(batch.images, normalization, model)
    images = augment(images, key, batch.epoch, batch.example, pad=data.pad, flip=data.flip)

    def loss_of(params: Any) -> tuple[Array, tuple[Array, Array, Any]]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        losses = cross_entropy(logits, batch.labels)
        return losses.mean(), (losses, logits, updated["batch_stats"])

    grads, (losses, logits, batch_stats) = jax.grad(loss_of, has_aux=True)(state.params)
    sums = weighted_sums(losses, logits, batch.labels, jnp.ones_like(losses))
    if axis_name is not None:
        # Every device holds equally many examples, so the mean of means is the mean.
        grads = jax.lax.pmean(grads, axis_name)
        sums = jax.lax.psum(sums, axis_name)

    updates, opt_state = optimizer.update(grads, state.opt_state, state.params, error=sums.errors / sums.examples)
    params = optax.apply_updates(state.params, updates)
    new = TrainState(state.step + 1, params, batch_stats, opt_state)
    return new, StepReport(sums, rate_state(opt_state).rate)


def eval_step(
    state: TrainState,
    batch: EvalBatch,
    *,
    model: ResNet,
    normalization: Normalization,
    axis_name: str | None = None,
) -> Sums:
    """Sums over the examples of weight 1 of the global batch, in eval mode (running statistics, no augmentation)."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits: Any = model.apply(variables, _inputs(batch.images, normalization, model), train=False)
    sums = weighted_sums(cross_entropy(logits, batch.labels), logits, batch.labels, batch.weight)
    return sums if axis_name is None else jax.lax.psum(sums, axis_name)


def _inputs(images: Array, normalization: Normalization, model: ResNet) -> Array:
    # In float32 even for a bfloat16 net, which casts them itself: eight bits of mantissa would blur the pixels.
    dtype = jnp.float64 if model.config.dtype == "float64" else jnp.float32
    return normalize(images, jnp.asarray(normalization.mean, dtype), jnp.asarray(normalization.std, dtype))
