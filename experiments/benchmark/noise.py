"""The batch of random images for all contestants.

This module does not import JAX, because the contestants that use PyTorch import this module.
"""

from typing import Any

import numpy as np

from experiments.benchmark.spec import SEED
from resnet_jax.config import ExperimentConfig
from resnet_jax.data import ArraySource, Source, normalization


def synthetic(config: ExperimentConfig, image_shape: tuple[int, int, int]) -> Source:
    """Draws one batch of random images [B, H, W, C] uint8 and random labels [B] int32."""
    rng = np.random.default_rng(SEED)
    assert config.model.num_classes is not None
    images = rng.integers(0, 256, (config.train.batch_size, *image_shape), np.uint8)
    return ArraySource(images, rng.integers(0, config.model.num_classes, len(images), np.int32))


def normalised(config: ExperimentConfig, source: Source) -> Any:
    """All images of a source, normalised as in this project's train step: [N, H, W, C] float32."""
    return normalization(source, config.data)(source.take(np.arange(len(source)))).astype(np.float32)
