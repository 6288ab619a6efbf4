"""Nets with random arrays, as files hold them."""

import numpy as np

from resnet_jax.config import ModelConfig
from resnet_jax.weights.arrays import Arrays, counts, shapes
from resnet_jax.weights.bundle import Origin, Weights, usual_preprocessing
from resnet_jax.weights.classes import usual_classes

CIFAR = ModelConfig(depth=8, width=4, shortcut="A", shortcut_padding="both", num_classes=10)


def random_arrays(model: ModelConfig, channels: int = 3, *, counted: bool = False, seed: int = 0) -> Arrays:
    """Every array of a net, variances above 0, with the counts of batches where wanted."""
    rng = np.random.default_rng(seed)
    names = shapes(model, channels)
    arrays = {}
    for name, shape in names.items():
        if name.endswith(("var", "scale")):
            arrays[name] = rng.random(shape, np.float32) + np.float32(0.5)
        else:
            # By fan-in, so that logits are of a size at which probabilities say something.
            spread = np.float32(1.0 / np.sqrt(np.prod(shape[:-1]))) if len(shape) > 1 else np.float32(0.25)
            arrays[name] = spread * rng.standard_normal(shape, np.float32)
    for i, name in enumerate(counts(names) if counted else ()):
        arrays[name] = np.array(100 + i, np.int64)
    return arrays


def random_weights(model: ModelConfig = CIFAR, channels: int = 3, *, counted: bool = False, seed: int = 0) -> Weights:
    """A net with the preprocessing and classes that are usual for it."""
    return Weights(
        model,
        random_arrays(model, channels, counted=counted, seed=seed),
        usual_preprocessing(model, channels),
        usual_classes(model),
        Origin("random", "0" * 16),
    )
