"""The net that a run ends with, as files keep it: what it takes to use it without the run's data."""

from __future__ import annotations

from resnet_jax.training.assemble import Assembly
from resnet_jax.training.ema import evaluated
from resnet_jax.training.state import TrainState, fingerprint
from resnet_jax.weights.net import Origin, Weights, flatten
from resnet_jax.weights.preprocessing import Preprocessing


def weights_of(assembly: Assembly, state: TrainState, name: str) -> Weights:
    """A run's net after some step.

    Pictures are to become what the run's own images were: those of a folder were resized to a size, others are taken to
    fill a square of theirs; where the data's images are no squares, only pictures of their size will do.

    Args:
      state: on the host, block by block.
      name: of the run.
    """
    state = evaluated(state, assembly.config.optim)
    height, width, channels = assembly.dataset.image_shape
    resize = height if height == width else None
    return Weights(
        model=assembly.config.model,
        arrays=flatten(state.params, state.batch_stats),
        preprocessing=Preprocessing(resize, height, width, channels, assembly.normalization),
        class_names=assembly.dataset.class_names,
        origin=Origin(name, fingerprint(state.params)),
    )
