"""The train step and the eval step: pure functions, the same under jit, shard_map and pmap.

If the activations of a batch do not fit into memory, a train step can divide the batch into parts, compute their
gradients one part after another, and average them (`train.accumulation`). With the BN scope "ghost", this changes the
result only by rounding, because a part consists of whole groups. With "global" and "device", the result differs,
because BN normalises each part by its own statistics.

`axis_name` is the mapped axis of shard_map or pmap, over which gradients are averaged and sums added. It is None under
jit: there a step is written for the global batch, and the compiler divides the work between the devices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from resnet_jax.config import DataConfig
from resnet_jax.data import Normalization, mix as mixing
from resnet_jax.data.augment import normalize, training_inputs
from resnet_jax.models.noise import noise
from resnet_jax.models.resnet import ResNet
from resnet_jax.training import ema
from resnet_jax.training.gradients import gradient_norms
from resnet_jax.training.losses import cross_entropy, mixed_cross_entropy, smoothed_cross_entropy
from resnet_jax.training.metrics import StepReport, Sums, weighted_sums
from resnet_jax.training.schedules import rate_state
from resnet_jax.training.state import AveragedState, TrainState

# No epoch has this number, so the key of the net's noise differs from all keys of augmentation.
NOISE = 2**32 - 1


class TrainBatch(NamedTuple):
    """The input of a train step: images [N, H, W, C] uint8, labels [N] int32, epoch [N] int32, example [N] int32.

    `example` is the position of each example in the training set. `epoch` is its epoch, which changes the augmentation.
    """

    images: Any
    labels: Any
    epoch: Any
    example: Any


class EvalBatch(NamedTuple):
    """The input of an eval step: images [N, H, W, C] uint8, labels [N] int32, weight [N] float32.

    The weight is 1, or 0 for an example that pads the batch.
    """

    images: Any
    labels: Any
    weight: Any


@dataclass(frozen=True)
class Parts:
    """The division of a batch into parts, whose gradients are computed one part after another."""

    count: int = 1
    """Number of parts."""
    shards: int = 1
    """Number of shards of consecutive images in the batch, one for each device. A part has equally many of each."""


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
    parts: Parts = Parts(),
    report_gradients: bool = False,
    label_smoothing: float = 0.0,
    ema_decay: float | None = None,
) -> tuple[TrainState, StepReport]:
    """One step of SGD on a batch.

    Args:
      state: the state before the step.
      batch: the examples of this device; under jit, all examples of the step.
      key: the augmentation key of the run, the same in every step. Augmentation derives from the key and each example's
        epoch and position. The noise of stochastic depth and dropout also depends on the step.
      model: the net, with the BN scope for this mode and this number of images.
      optimizer: the optimizer from training.optim.sgd.
      normalization: the mean and standard deviation of the images.
      data: the augmentation.
      axis_name: the mapped axis over devices; None under jit.
      parts: the division of the batch into parts. BN's new running statistics are the mean over the parts.
      report_gradients: whether the report has the norm of each layer's gradient, without weight decay.
      label_smoothing: smoothing of the targets in the loss that is minimised and reported.
      ema_decay: decay of the average of the parameters in the state; None if the state has no average.

    Returns:
      The state after the step, and a report: sums of loss and errors over the global batch, in train mode, before the
      update. For a mixed image (`data.mixup`, `data.cutmix`), an error is counted against the label with the larger
      share.
    """

    def part_of(batch: TrainBatch) -> tuple[Any, Any, Sums]:
        """Mean gradients, running statistics and sums of one part of the batch."""
        # Only this part is augmented, because augmented images need four times the memory of stored images.
        epoch, example, dtype = batch.epoch, batch.example, _input_dtype(model)
        images = training_inputs(batch.images, key, epoch, example, stats=normalization, data=data, dtype=dtype)
        mix = None
        if data.mixes:
            mix = mixing.draw(
                key,
                batch.epoch,
                batch.example,
                size=(images.shape[1], images.shape[2]),
                mixup=data.mixup,
                cutmix=data.cutmix,
                dtype=images.dtype,
            )
            images = mixing.blend(images, mix)

        own: dict[str, Any] = {}
        if model.config.is_noisy:
            own["noise"] = noise(jax.random.fold_in(key, NOISE), state.step, batch.epoch, batch.example)

        def loss_of(params: Any) -> tuple[Array, tuple[Array, Array, Any]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"], **own)
            if mix is None:
                losses = smoothed_cross_entropy(logits, batch.labels, label_smoothing)
            else:
                others = mixing.partners(batch.labels)
                losses = mixed_cross_entropy(logits, batch.labels, others, mix.share, label_smoothing)
            return losses.mean(), (losses, logits, updated["batch_stats"])

        grads, (losses, logits, batch_stats) = jax.grad(loss_of, has_aux=True)(state.params)
        labels = batch.labels
        if mix is not None:
            labels = jnp.where(mix.share >= 0.5, labels, mixing.partners(labels))
        return grads, batch_stats, weighted_sums(losses, logits, labels, jnp.ones_like(losses))

    grads, batch_stats, sums = part_of(batch) if parts.count == 1 else _accumulate(part_of, batch, parts)
    if axis_name is not None:
        # Every device has equally many examples, so the mean of means is the mean.
        grads = jax.lax.pmean(grads, axis_name)
        sums = jax.lax.psum(sums, axis_name)

    updates, opt_state = optimizer.update(grads, state.opt_state, state.params, error=sums.errors / sums.examples)
    params = optax.apply_updates(state.params, updates)
    new = TrainState(state.step + 1, params, batch_stats, opt_state)
    if isinstance(state, AveragedState):
        assert ema_decay is not None
        average = ema.update(state.average, params, batch_stats, new.step, ema_decay)
        new = AveragedState(new.step, params, batch_stats, opt_state, average)
    norms = gradient_norms(grads, model) if report_gradients else None
    return new, StepReport(sums, rate_state(opt_state).rate, norms)


def eval_step(
    state: TrainState,
    batch: EvalBatch,
    *,
    model: ResNet,
    normalization: Normalization,
    axis_name: str | None = None,
) -> Sums:
    """Sums of loss and errors over the global batch, in eval mode (running statistics, no augmentation).

    Args:
      state: the state with the net's parameters and running statistics.
      batch: all examples under jit, and the examples of one device under pmap and shard_map. Examples of weight 0 are
        not counted.
      model: the net.
      normalization: the mean and standard deviation of the images.
      axis_name: the mapped axis over devices; None under jit.
    """
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits: Any = model.apply(variables, _inputs(batch.images, normalization, model), train=False)
    sums = weighted_sums(cross_entropy(logits, batch.labels), logits, batch.labels, batch.weight)
    return sums if axis_name is None else jax.lax.psum(sums, axis_name)


def predict_step(
    variables: dict[str, Any],
    images: Array,
    *,
    model: ResNet,
    normalization: Normalization,
    axis_name: str | None = None,
) -> Array:
    """The probabilities of K classes in eval mode: the mean over each image and its mirror image.

    Args:
      variables: variables of the net, {"params": ..., "batch_stats": ...}.
      images: [N, H, W, C] uint8, of any size that the net takes; the images of this device, under jit all images.
      model: the net.
      normalization: the mean and standard deviation, for images of this size.
      axis_name: the mapped axis over devices; None under jit.

    Returns:
      [N, K] for all images of the global batch.
    """
    inputs = _inputs(images, normalization, model)
    logits: Any = model.apply(variables, inputs, train=False)
    mirrored: Any = model.apply(variables, inputs[:, :, ::-1], train=False)
    found = (jax.nn.softmax(logits) + jax.nn.softmax(mirrored)) / 2.0
    return found if axis_name is None else jax.lax.all_gather(found, axis_name, tiled=True)


def _accumulate(
    part_of: Callable[[TrainBatch], tuple[Any, Any, Sums]], batch: TrainBatch, parts: Parts
) -> tuple[Any, Any, Sums]:
    """Calls `part_of` for each part of a batch. Averages the gradients and running statistics, and adds the Sums.

    Each shard is cut into as many slices of consecutive images as there are parts. The first part consists of the first
    slice of each shard, the second part of the second slices, and so on. So no image leaves its device, and the ghost
    groups are the same as without parts.
    """

    def cut(x: Array) -> Array:
        by_shard = x.reshape(parts.shards, parts.count, -1, *x.shape[1:])  # [D, A, b, ...]
        return jnp.swapaxes(by_shard, 0, 1).reshape(parts.count, -1, *x.shape[1:])  # [A, D * b, ...]

    def add(so_far: Any, part: TrainBatch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, so_far, part_of(part)), None

    cuts = jax.tree.map(cut, batch)
    shapes = jax.eval_shape(part_of, jax.tree.map(lambda x: x[0], cuts))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    (grads, batch_stats, sums), _ = jax.lax.scan(add, zeros, cuts)
    # The parts are equal, so the mean of means is the mean; also for running statistics, which are linear.
    grads, batch_stats = jax.tree.map(lambda total: total / parts.count, (grads, batch_stats))
    return grads, batch_stats, sums


def _input_dtype(model: ResNet) -> Any:
    # In float32 even for a bfloat16 net, because eight bits of mantissa are too few for pixels; the net casts them.
    return jnp.float64 if model.config.dtype == "float64" else jnp.float32


def _inputs(images: Array, normalization: Normalization, model: ResNet) -> Array:
    dtype = _input_dtype(model)
    return normalize(images, jnp.asarray(normalization.mean, dtype), jnp.asarray(normalization.std, dtype))
