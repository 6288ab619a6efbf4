"""Replaces BN's running statistics by averages over the training set, after training.

The authors' published models have such averages, "not moving average", computed "on a sufficiently large training batch
after the training procedure" (github.com/KaimingHe/deep-residual-networks). Running statistics, in contrast, come
mostly from the last few batches, and each batch was computed with older parameters.
"""

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
    """Returns `state` with batch statistics that are averages over the training set.

    Each training image is used once, without augmentation, in the order of the run's first epoch. BN normalises groups
    of `ExperimentConfig.norm_batch` images, as in training; the last group may be smaller. The new mean and variance of
    each BN layer are averages of the groups' means and (biased) variances, weighted by the number of images. Stochastic
    depth and dropout are replaced by their expectations, as in evaluation. This runs on one device, in process 0.

    `state` and the result are on the devices. With `optim.ema` they contain a second net, with averaged parameters.
    Only one of the two nets gets new batch statistics: the net that the run evaluates.
    """
    host, config = program.fetch(state), program.assembly.config.optim
    net = evaluated(host, config)
    found = averages(program, net.params, net.batch_stats) if processes.primary() else net.batch_stats
    return program.put(with_batch_stats(host, config, program.devices.broadcast(found)))


def averages(program: Program, params: Tree, batch_stats: Tree) -> Tree:
    """Batch statistics averaged over the training set, with the structure and dtypes of `batch_stats`.

    Arguments and result are on the host.
    """
    assembly = program.assembly
    config, dataset, stats = assembly.config, assembly.dataset, assembly.normalization
    # With momentum 0, the new running statistics are those of the batch.
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
    """Yields the positions of the images of one forward pass, and the number of BN groups that they form.

    A group has `size` images. A pass has as many whole groups as fit into `at_once` images, but at least one. The last
    group may be smaller. Each position in the training set is yielded once.
    """
    # Shuffled, because images in a folder are sorted by class, and a group should have images of several classes.
    order, start = epoch_order(seed, 0, len(dataset.train)), 0
    while start < len(order):
        groups = max(1, min(at_once, len(order) - start) // size)
        index = order[start : start + groups * size]
        yield index, groups
        start += len(index)
