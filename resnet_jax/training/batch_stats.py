"""BN's running statistics replaced by true averages over the training set, after training.

The authors' released models have such averages, "not moving average", computed "on a sufficiently large training
batch after the training procedure" (github.com/KaimingHe/deep-residual-networks). What training leaves behind lags
behind the parameters and remembers the last few batches most.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.data import Dataset
from resnet_jax.data.augment import normalize
from resnet_jax.data.order import Index, epoch_order
from resnet_jax.models.layers import BatchStatsScope
from resnet_jax.models.resnet import build
from resnet_jax.training import processes
from resnet_jax.training.ema import evaluated, with_batch_stats
from resnet_jax.training.program import Program
from resnet_jax.training.state import TrainState
from resnet_jax.types import Tree


def recompute(program: Program, state: TrainState) -> TrainState:
    """`state` with batch statistics, of the net that is evaluated, averaged over the training set; no other changes.

    The training images, as evaluation sees them (no augmentation), each once, in the order of the run's first epoch,
    are normalised in groups of as many images as shared statistics in training (`ExperimentConfig.norm_batch`; the
    last group has what is left). Each BN's new mean and variance are the averages over groups of group mean and
    (biased) group variance, weighted by images: what the running statistics estimate. Stochastic depth and dropout are
    in expectation, as they are when the net is evaluated. Runs on one device, in process 0.

    Args:
      program: that of the run.
      state: on the devices; it is left as it is.

    Returns:
      A state on the devices.
    """
    host, config = program.fetch(state), program.assembly.config.optim
    net = evaluated(host, config)
    found = averages(program, net.params, net.batch_stats) if processes.primary() else net.batch_stats
    return program.put(with_batch_stats(host, config, program.devices.broadcast(found)))


def averages(program: Program, params: Tree, batch_stats: Tree) -> Tree:
    """The averages that `recompute` puts in the place of `batch_stats`, in its dtypes; all on the host."""
    assembly = program.assembly
    config, dataset, stats = assembly.config, assembly.dataset, assembly.normalization
    # Without memory, the new running statistics are the batch's.
    forgetful = dataclasses.replace(config.model, norm=dataclasses.replace(config.model.norm, momentum=0.0))
    model = build(forgetful).clone(scanned=program.model.scanned, frozen_stages=program.model.frozen_stages)
    dtype = jnp.float64 if config.model.dtype == "float64" else jnp.float32

    def of_groups(variables: Tree, images: jax.Array, groups: int) -> Tree:
        scoped = model.clone(stats_scope=BatchStatsScope(groups))
        x = normalize(images, jnp.asarray(stats.mean, dtype), jnp.asarray(stats.std, dtype))
        return scoped.apply(variables, x, train=True, mutable=["batch_stats"])[1]["batch_stats"]

    compiled = jax.jit(of_groups, static_argnums=2)
    params, batch_stats = program.to_layout(params), program.to_layout(batch_stats)
    sums = jax.tree.map(lambda x: np.zeros(x.shape, np.float64), batch_stats)
    at_once = config.train.batch_size // config.train.accumulation
    for index, groups in _groups(dataset, config.seed, config.norm_batch, at_once):
        variables = {"params": params, "batch_stats": batch_stats}
        with jax.default_matmul_precision(config.model.precision):
            found = jax.device_get(compiled(variables, dataset.train.take(index), groups))
        images = len(index)
        sums = jax.tree.map(lambda s, x, n=images: s + n * x.astype(np.float64), sums, found)
    return program.from_layout(jax.tree.map(lambda s, x: (s / len(dataset.train)).astype(x.dtype), sums, batch_stats))


def _groups(dataset: Dataset, seed: int, size: int, at_once: int) -> Iterator[tuple[Index, int]]:
    """All positions of the training set, in batches of whole groups; each with its number of groups."""
    # Shuffled: the images of a folder lie class by class, and statistics of one class are not those of training.
    order, start = epoch_order(seed, 0, len(dataset.train)), 0
    while start < len(order):
        groups = max(1, min(at_once, len(order) - start) // size)
        index = order[start : start + groups * size]
        yield index, groups
        start += len(index)
