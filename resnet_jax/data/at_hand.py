"""The fingerprint of the data that a configuration names on this machine. Nothing here imports JAX."""

from __future__ import annotations

import dataclasses
import functools

from resnet_jax.config import DataConfig
from resnet_jax.data import load


def fingerprint(config: DataConfig) -> str:
    """`Dataset.fingerprint` of the data that a run of `config` would use here; each is read once in a process.

    Raises:
      UserError: the data are missing or damaged.
    """
    # Normalisation and augmentation are not part of the data.
    return _fingerprint(dataclasses.replace(config, placement="auto", normalize="pixel_mean", pad=0, flip=False))


@functools.cache
def _fingerprint(config: DataConfig) -> str:
    return load(config).fingerprint
