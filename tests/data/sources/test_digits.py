"""The embedded digits are scikit-learn's, whole, and split in proportion."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from resnet_jax.config import DataConfig
from resnet_jax.data import ArraySource, Dataset, load
from resnet_jax.errors import UserError


def test_every_digit_is_there_once() -> None:
    data = load(DataConfig(source="digits"))
    images = np.concatenate([data.train.images, data.test.images])
    labels = np.concatenate([data.train.labels, data.test.labels])
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.image_shape == (8, 8, 1)
    # Back to 0..16: the stretch to 0..255 loses nothing.
    restored = np.rint(images.reshape(-1, 64) * (16 / 255)).astype(int)
    pixels, targets = load_digits(return_X_y=True)
    key = lambda p, t: sorted(map(tuple, np.column_stack([p, t]).astype(int).tolist()))  # noqa: E731
    assert key(restored, labels) == key(pixels, targets)


def test_split_is_stratified_and_fixed() -> None:
    data = load(DataConfig(source="digits"))
    share = np.bincount(data.test.labels) / np.bincount(np.concatenate([data.train.labels, data.test.labels]))
    assert np.abs(share - 360 / 1797).max() < 0.01
    assert load(DataConfig(source="digits")).fingerprint == data.fingerprint


def split(images: np.ndarray, labels: list[int]) -> ArraySource:
    return ArraySource(images.astype(np.uint8), np.asarray(labels, np.int32))


def test_fingerprint_sees_every_change() -> None:
    images = np.zeros((2, 2, 2, 1))
    base = Dataset("x", split(images, [0, 1]), split(images, [0, 1]), ("a", "b"))
    other_pixel = images.copy()
    other_pixel[1, 1, 1, 0] = 1
    variants = [
        Dataset("x", split(other_pixel, [0, 1]), split(images, [0, 1]), ("a", "b")),
        Dataset("x", split(images, [0, 1]), split(other_pixel, [0, 1]), ("a", "b")),
        Dataset("x", split(images, [1, 1]), split(images, [0, 1]), ("a", "b")),
        Dataset("x", split(images, [0, 1]), split(images, [0, 1]), ("a", "c")),
        Dataset("x", split(images.reshape(2, 1, 4, 1), [0, 1]), split(images.reshape(2, 1, 4, 1), [0, 1]), ("a", "b")),
    ]
    assert len({base.fingerprint, *(v.fingerprint for v in variants)}) == 6


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        (split(np.zeros((0, 2, 2, 1)), []), split(np.zeros((1, 2, 2, 1)), [0]), "the training set is empty"),
        (split(np.zeros((1, 2, 2, 1)), [0]), split(np.zeros((0, 2, 2, 1)), []), "the test set is empty"),
        (split(np.zeros((1, 2, 2, 1)), [2]), split(np.zeros((1, 2, 2, 1)), [0]), "labels from 2 to 2; legal: 0 to 1"),
        (split(np.zeros((1, 2, 2, 1)), [0]), split(np.zeros((1, 2, 3, 1)), [0]), "must have the same shape"),
    ],
)
def test_data_that_make_no_sense_are_refused(train: ArraySource, test: ArraySource, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Dataset("x", train, test, ("a", "b"))
