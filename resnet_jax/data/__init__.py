"""What a run sees: `load(config)` gives a Dataset, whatever the source."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable

import resnet_jax.data.split as split
from resnet_jax.config import DataConfig
from resnet_jax.data.dataset import ArraySource, Dataset, Normalization, Source, normalization
from resnet_jax.errors import UserError

__all__ = ["ArraySource", "Dataset", "Normalization", "Source", "load", "normalization", "require_tfds"]


def load(config: DataConfig, tell: Callable[[str], None] = lambda text: None) -> Dataset:
    """The data set that `config` describes, reduced and with a validation set as it asks.

    Args:
      config: source, place and splits.
      tell: is told what is worth knowing, a line at a time: classes, images left out, the cache.

    Raises:
      UserError: the data are missing or damaged; the message says what to do.
    """
    dataset, validation = split.apply(
        _whole(config, tell),
        train_subset=config.train_subset,
        validation=config.validation,
        split_seed=config.split_seed,
    )
    return dataclasses.replace(dataset, validation=validation)


def require_tfds() -> None:
    """Makes sure that tensorflow-datasets can be imported: it is needed for the source "tfds" alone.

    Raises:
      UserError: it is not installed.
    """
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise UserError(
            "data.source='tfds' needs tensorflow-datasets, which is not installed here; run pip install -e '.[tfds]', "
            "or give the images as NumPy arrays: --data.source=npz --data.path=FILE.npz."
        )


def _whole(config: DataConfig, tell: Callable[[str], None]) -> Dataset:
    # Imported on use: each source brings libraries that the others do not need.
    if config.source == "digits":
        import resnet_jax.data.sources.digits as digits

        return digits.load()
    if config.source == "tfds":
        require_tfds()
        import resnet_jax.data.sources.tfds as tfds

        assert config.name is not None
        return tfds.load(config.name, data_dir=config.path, tell=tell)
    assert config.path is not None
    if config.source == "folder":
        import resnet_jax.data.sources.folder as folder

        return folder.load(config.path, image_size=config.image_size, bad_images=config.bad_images, tell=tell)
    import resnet_jax.data.sources.npz as npz

    return npz.load(config.path)
