"""The data of a run: `load(config)` returns a Dataset, with training and test images from any source."""

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
    """Loads the data set of `config`. Then draws a subset and a validation set from it if `config` asks for them.

    Args:
      config: the configuration of the data.
      note: called with each remark, one line of text. A remark gives, for example, the number of images.

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
    """Loads the data of `config` and returns `Dataset.fingerprint`. The result is cached in this process.

    Raises:
      UserError: the data are missing or damaged.
    """
    # These fields do not change the data, only their later processing: they get one value, for more cache hits.
    return _fingerprint(dataclasses.replace(config, placement="auto", normalize="pixel_mean", pad=0, flip=False))


@functools.cache
def _fingerprint(config: DataConfig) -> str:
    return load(config).fingerprint


def import_source(name: str) -> ModuleType:
    """Imports the module of a data source, such as "tfds", and with it the libraries that only this source needs.

    Raises:
      UserError: one of these libraries is not installed.
    """
    try:
        return importlib.import_module(f"resnet_jax.data.sources.{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0].replace("_", "-")
        raise UserError(
            f"data.source={name!r} needs {missing}, which is not installed; run pip install -e '.[{name}]', "
            "or give the images as NumPy arrays: --data.source=npz --data.path=FILE.npz."
        ) from error
