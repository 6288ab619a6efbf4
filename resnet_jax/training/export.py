"""The net that a run ends with, as files keep it: what it takes to use it without the run's data."""

from __future__ import annotations

from resnet_jax.training.setup import Setup
from resnet_jax.training.state import TrainState, fingerprint
from resnet_jax.weights.net import Origin, Weights, flatten
from resnet_jax.weights.preprocessing import Preprocessing


def weights_of(setup: Setup, state: TrainState, name: str) -> Weights:
    """A run's net after some step.

    Pictures are to become what the run's own images were: those of a folder were resized to a size, others are taken to
    fill a square of theirs; where the data's images are no squares, only pictures of their size will do.

    Args:
      state: on the host, block by block.
      name: of the run.
    """
    height, width, channels = setup.dataset.image_shape
    resize = height if height == width else None
    return Weights(
        model=setup.config.model,
        arrays=flatten(state.params, state.batch_stats),
        preprocessing=Preprocessing(resize, height, width, channels, setup.normalization),
        class_names=setup.dataset.class_names,
        origin=Origin(name, fingerprint(state.params)),
    )
