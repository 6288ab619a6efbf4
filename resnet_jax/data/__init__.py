"""What a run sees: `load(config)` gives a Dataset, whatever the source."""

from __future__ import annotations

from resnet_jax.config import DataConfig
from resnet_jax.data.dataset import Dataset, Normalization, Split, normalization

__all__ = ["Dataset", "Normalization", "Split", "load", "normalization"]


def load(config: DataConfig) -> Dataset:
    """The data set that `config.source` names.

    Raises:
      UserError: the data are missing or damaged; the message says what to do.
    """
    # Imported on use: each source brings libraries that the others do not need.
    assert config.source == "digits"
    from resnet_jax.data import digits

    return digits.load()
