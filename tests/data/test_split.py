"""Stratified draws: proportions by hand, the same every time, never overlapping."""

import re

import numpy as np
import pytest

from resnet_jax.data.dataset import ArraySource, Dataset
from resnet_jax.data.split import apply, stratified
from resnet_jax.errors import UserError

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [50, 30, 20])).astype(np.int32)


def draw(count: int, labels: np.ndarray = LABELS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return stratified(labels, count, seed=seed, field="data.train_subset")


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (10, [5, 3, 2]),
        (11, [6, 3, 2]),  # quotas 5.5, 3.3, 2.2
        (13, [6, 4, 3]),  # 6.5, 3.9, 2.6: the largest remainders are those of the smaller classes
        (15, [8, 4, 3]),  # 7.5, 4.5, 3.0: equal remainders, the lowest label first
        (100, [50, 30, 20]),
    ],
)
def test_each_class_has_its_share(count: int, shares: list[int]) -> None:
    chosen, rest = draw(count)
    assert np.bincount(LABELS[chosen]).tolist() == shares
    assert chosen.dtype == rest.dtype == np.int64
    assert (np.diff(chosen) > 0).all()
    assert (np.diff(rest) > 0).all()
    assert sorted([*chosen, *rest]) == list(range(100))


def test_many_sizes_give_exactly_the_count_within_one_of_the_quota() -> None:
    labels = np.random.default_rng(1).integers(0, 7, 311).astype(np.int32)
    sizes = np.bincount(labels)
    for count in range(20, 312):
        chosen, _ = draw(count, labels)
        shares = np.bincount(labels[chosen], minlength=7)
        assert shares.sum() == count
        assert (np.abs(shares - count * sizes / 311) < 1).all()


def test_the_seed_decides_and_a_smaller_draw_is_part_of_a_larger() -> None:
    np.testing.assert_array_equal(draw(20)[0], draw(20)[0])
    assert draw(20)[0].tolist() != draw(20, seed=1)[0].tolist()
    assert set(draw(20)[0]) < set(draw(40)[0])


def test_a_draw_is_uniform_within_a_class() -> None:
    labels = np.zeros(10, np.int32)
    counts = np.zeros(10)
    for seed in range(1000):
        counts[draw(3, labels, seed)[0]] += 1
    assert (np.abs(counts - 300) < 5 * np.sqrt(1000 * 0.3 * 0.7)).all()  # five standard deviations


def test_classes_that_are_not_there_have_no_share() -> None:
    chosen, _ = draw(2, np.array([0, 0, 5, 5], np.int32))
    assert len(chosen) == 2


@pytest.mark.parametrize(
    ("count", "sentence"),
    [
        (0, r"data\.train_subset: got 0; legal: 1 to 100"),
        (-1, "got -1; legal: 1 to 100"),
        (101, "got 101; legal: 1 to 100"),
        (2, "got 2, which leaves class 2 without an image; give at least 5: then every class gets an image"),
    ],
)
def test_counts_that_cannot_be(count: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        draw(count)


def test_the_count_that_the_message_gives_is_enough() -> None:
    assert np.bincount(LABELS[draw(5)[0]]).min() == 1


def dataset(labels: np.ndarray = LABELS) -> Dataset:
    # Every image is its own position, so images show which were taken.
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    test = ArraySource(images[:3], np.arange(3, dtype=np.int32))
    return Dataset("toys", ArraySource(images, labels), test, ("a", "b", "c"))


def positions(split: ArraySource | None) -> set[int]:
    assert split is not None
    np.testing.assert_array_equal(split.labels, LABELS[split.images.ravel()])
    assert (np.diff(split.images.ravel().astype(int)) > 0).all()
    return set(split.images.ravel().tolist())


def test_nothing_asked_changes_nothing() -> None:
    data = dataset()
    for subset in (None, 100):
        same, validation = apply(data, train_subset=subset, validation=0, split_seed=0)
        assert same is data
        assert validation is None


def test_a_subset() -> None:
    data, validation = apply(dataset(), train_subset=20, validation=0, split_seed=3)
    assert data.name == "toys, 20 training images"
    assert np.bincount(data.train.labels).tolist() == [10, 6, 4]
    assert len(positions(data.train)) == 20
    assert data.test is not None
    assert len(data.test) == 3
    assert validation is None


def test_validation_is_held_out_and_the_rest_is_trained_on() -> None:
    data, validation = apply(dataset(), train_subset=None, validation=10, split_seed=3)
    assert data.name == "toys, 90 training images, 10 held out"
    assert data.validation is None
    assert validation is not None
    assert np.bincount(validation.labels).tolist() == [5, 3, 2]
    assert positions(data.train) | positions(validation) == set(range(100))
    assert not positions(data.train) & positions(validation)


def test_validation_comes_out_of_the_subset() -> None:
    whole, _ = apply(dataset(), train_subset=40, validation=0, split_seed=3)
    data, validation = apply(dataset(), train_subset=40, validation=10, split_seed=3)
    assert data.name == "toys, 30 training images, 10 held out"
    assert positions(data.train) | positions(validation) == positions(whole.train)
    assert not positions(data.train) & positions(validation)


@pytest.mark.parametrize(
    ("subset", "validation", "sentence"),
    [
        (101, 0, r"data\.train_subset: got 101; legal: 1 to 100"),
        (2, 0, r"data\.train_subset: got 2, which leaves class 2"),
        (None, 100, r"data\.validation: got 100; legal: 0 to 99"),
        (40, 40, r"data\.validation: got 40; legal: 0 to 39"),
        (None, 2, r"data\.validation: got 2, which leaves class 2"),
        (None, 99, r"data\.validation: got 99, which leaves class \d without an image to train on"),
    ],
)
def test_splits_that_cannot_be(subset: int | None, validation: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        apply(dataset(), train_subset=subset, validation=validation, split_seed=0)
    assert len(re.findall(r"\.(?:\s|$)", str(caught.value))) == 1  # one sentence
