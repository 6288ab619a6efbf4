"""A training set is known by its content: in any order, and with no other label or pixel."""

from pathlib import Path

import numpy as np
import pytest

from resnet_jax.config import DataConfig
from resnet_jax.data import known, load
from resnet_jax.data.dataset import ArraySource


@pytest.fixture
def train() -> ArraySource:
    draw = np.random.default_rng(0)
    return ArraySource(draw.integers(0, 256, (12, 4, 4, 3), np.uint8), (np.arange(12) % 3).astype(np.int32))


def test_the_order_does_not_matter_and_everything_else_does(train: ArraySource) -> None:
    order = np.random.default_rng(1).permutation(12)
    assert known.digest(ArraySource(train.images[order], train.labels[order])) == known.digest(train)
    assert known.digest(ArraySource(train.images, train.labels[order])) != known.digest(train)
    images = train.images.copy()
    images[3, 1, 2, 0] ^= 1
    assert known.digest(ArraySource(images, train.labels)) != known.digest(train)
    twice = np.r_[:11, 0]  # one example missing, another there twice
    assert known.digest(ArraySource(train.images[twice], train.labels[twice])) != known.digest(train)


def test_an_npz_file_has_the_name_of_a_known_training_set_and_else_its_own(
    train: ArraySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {"train_images": train.images, "train_labels": train.labels}
    config = DataConfig(source="npz", path=str(tmp_path / "mine.npz"))
    np.savez(tmp_path / "mine.npz", **arrays, test_images=train.images[:3], test_labels=train.labels[:3])
    assert load(config).name == "mine (npz)"
    monkeypatch.setattr(known, "KNOWN", {(12, (4, 4, 3)): {known.digest(train): "Twelve"}})
    assert load(config).name == "Twelve"
    monkeypatch.setattr(known, "KNOWN", {(12, (4, 4, 3)): {"0123456789abcdef": "Twelve"}})
    assert load(config).name == "mine (npz)"
