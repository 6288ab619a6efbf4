"""Data of a run: `load(config)` gives a Dataset from any source."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from types import ModuleType

import resnet_jax.data.split as split
from resnet_jax.config import DataConfig
from resnet_jax.data.dataset import ArraySource, Dataset, Draws, Source
from resnet_jax.data.statistics import Normalization, normalization
from resnet_jax.errors import UserError
from resnet_jax.text import Note

__all__ = ["ArraySource", "Dataset", "Draws", "Normalization", "Source", "import_source", "load", "normalization"]


def load(config: DataConfig, note: Note = lambda text: None) -> Dataset:
    """The data set of `config`, with its subset and its validation set.

    Args:
      config: source, path and splits.
      note: receives remarks, a line at a time: on classes, images left out, the cache.

    Raises:
      UserError: the data are missing or damaged; the message says what to do.
    """
    whole: Dataset = import_source(config.source).load(config, note)
    dataset, validation = split.apply(
        whole,
        train_subset=config.train_subset,
        validation=config.validation,
        split_seed=config.split_seed,
    )
    return dataclasses.replace(dataset, validation=validation)


def fingerprint(config: DataConfig) -> str:
    """`Dataset.fingerprint` of the data that a run of `config` would see here; they are read once in a process.

    Raises:
      UserError: the data are missing or damaged.
    """
    # What is done to the images afterwards is no part of the data.
    return _fingerprint(dataclasses.replace(config, placement="auto", normalize="pixel_mean", pad=0, flip=False))


@functools.cache
def _fingerprint(config: DataConfig) -> str:
    return load(config).fingerprint


def import_source(name: str) -> ModuleType:
    """Imports the module of a `data.source`. Each source has libraries that the others do not need.

    Raises:
      UserError: such a library is not installed.
    """
    try:
        return importlib.import_module(f"resnet_jax.data.sources.{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0].replace("_", "-")
        raise UserError(
            f"data.source={name!r} needs {missing}, which is not installed; run pip install -e '.[{name}]', "
            "or give the images as NumPy arrays: --data.source=npz --data.path=FILE.npz."
        ) from error
