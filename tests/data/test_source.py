"""A source need not hold pixels: what a run asks of its data, asked of one that makes images on demand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.config import DataConfig, ParallelConfig
from resnet_jax.data import ArraySource, Dataset, Source, load, normalization, split
from resnet_jax.data.dataset import PIECE
from resnet_jax.data.order import Batch
from resnet_jax.training.feed import feed
from resnet_jax.training.mesh import devices

RECORDS = Path(__file__).parents[2] / "experiments" / "records"
SHAPE = (4, 3, 1)
COUNT = PIECE + 7  # more than are looked at at once


@dataclass(frozen=True)
class OnDemand:
    """Images that are a function of (position, epoch), and exist only when they are taken."""

    positions: np.ndarray
    shape: tuple[int, int, int] = SHAPE

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def labels(self) -> np.ndarray:
        return (self.positions % 3).astype(np.int32)

    def take(self, index: Any, draws: Any = None) -> Any:
        shift = 0 if draws is None else draws.epoch[:, None, None, None] + 7 * draws.seed
        pixels = np.arange(12).reshape(1, *SHAPE) * (1 + self.positions[index][:, None, None, None] % 17) + shift
        return (pixels % 256).astype(np.uint8)

    def begin(self, index: Any, draws: Any = None) -> None:
        pass

    def part(self, index: Any) -> OnDemand:
        return OnDemand(self.positions[index])

    def fingerprint(self, digest: Any) -> None:
        digest.update(self.positions.tobytes())


def on_demand() -> Dataset:
    train, test = OnDemand(np.arange(COUNT)), OnDemand(np.arange(COUNT, COUNT + 6))
    return Dataset("on demand", train, test, ("a", "b", "c"))


def in_memory(dataset: Dataset) -> Dataset:
    def read(source: Source) -> ArraySource:
        return ArraySource(source.take(np.arange(len(source))), source.labels)

    return Dataset(dataset.name, read(dataset.train), read(dataset.test), dataset.class_names)


@pytest.mark.parametrize("normalize", ["pixel_mean", "channel_mean_std"])
def test_statistics_are_those_of_all_pixels(normalize: Any) -> None:
    dataset, config = on_demand(), DataConfig(normalize=normalize)
    images = in_memory(dataset).train.take(np.arange(COUNT)) / 255.0
    found = normalization(dataset.train, config)
    axes = 0 if normalize == "pixel_mean" else (0, 1, 2)
    np.testing.assert_allclose(found.mean, images.mean(axis=axes, keepdims=True), rtol=1e-12)
    if normalize == "channel_mean_std":
        np.testing.assert_allclose(found.std, images.std(axis=axes, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("placement", ["device", "host"])
def test_a_step_is_given_what_it_is_given_from_memory(placement: Any) -> None:
    where = devices(ParallelConfig(mode="jit", devices=1))
    index = np.random.default_rng(0).permutation(COUNT)[:32].astype(np.int32)
    given = []
    for dataset in (on_demand(), in_memory(on_demand())):
        source = feed(DataConfig(placement=placement), dataset, where, 0)
        train = source.train_batch(source.train(Batch(index, np.zeros_like(index))), *source.fixed)
        at = source.evaluate("test", np.arange(6, dtype=np.int32), np.ones(6, np.float32))
        given.append(jax.device_get((train, source.eval_batch(at, *source.fixed))))
    jax.tree.map(np.testing.assert_array_equal, *given)


def test_the_host_s_feed_says_which_epoch_and_seed_an_image_is_for() -> None:
    dataset = on_demand()
    source = feed(DataConfig(placement="host"), dataset, devices(ParallelConfig()), 1)
    index, epoch = np.array([5, 5], np.int32), np.array([0, 3], np.int32)
    images = source.train(Batch(index, epoch)).images.astype(int)
    np.testing.assert_array_equal(images[1] - images[0], np.full(SHAPE, 3))
    evaluated = source.evaluate("train", index, np.ones(2, np.float32)).images.astype(int)
    np.testing.assert_array_equal(images[0] - evaluated[0], np.full(SHAPE, 7))


def test_the_host_s_feed_gives_the_batches_of_several_steps_at_once() -> None:
    dataset = on_demand()
    source = feed(DataConfig(placement="host"), dataset, devices(ParallelConfig()), 1)
    index, epoch = np.arange(6, dtype=np.int32).reshape(2, 3), np.array([[0, 0, 0], [0, 1, 1]], np.int32)
    together = source.train(Batch(index, epoch))
    for k in range(2):
        alone = source.train(Batch(index[k], epoch[k]))
        jax.tree.map(np.testing.assert_array_equal, alone, jax.tree.map(lambda x, k=k: x[k], together))


def test_rows_do_not_depend_on_what_else_is_taken() -> None:
    """So each of several processes may make its own rows of a batch."""
    for dataset in (on_demand(), in_memory(on_demand())):
        index = np.random.default_rng(1).permutation(COUNT)[:12]
        parts = [dataset.train.take(rows) for rows in np.split(index, 3)]
        np.testing.assert_array_equal(np.concatenate(parts), dataset.train.take(index))


def test_what_is_taken_may_be_written_to() -> None:
    dataset = in_memory(on_demand())
    before = dataset.train.take(np.arange(4))
    dataset.train.take(np.arange(4))[...] = 0
    np.testing.assert_array_equal(dataset.train.take(np.arange(4)), before)


def test_a_subset_and_a_validation_set_are_parts_of_the_same_images() -> None:
    whole, held = split.apply(on_demand(), train_subset=300, validation=30, split_seed=2)
    expected, expected_held = split.apply(in_memory(on_demand()), train_subset=300, validation=30, split_seed=2)
    assert held is not None
    assert expected_held is not None
    for found, known in ((whole.train, expected.train), (held, expected_held)):
        np.testing.assert_array_equal(found.labels, known.labels)
        np.testing.assert_array_equal(found.take(np.arange(len(found))), known.take(np.arange(len(known))))


def test_the_fingerprint_of_committed_records_stays() -> None:
    record = json.loads((RECORDS / "digits-depth" / "plain-56-seed2" / "record.json").read_text())
    assert load(DataConfig(source="digits")).fingerprint == record["data"]["fingerprint"]


def test_the_fingerprint_tells_sources_apart() -> None:
    dataset = on_demand()
    fewer = Dataset(dataset.name, dataset.train.part(np.arange(5)), dataset.test, dataset.class_names)
    assert len({dataset.fingerprint, fewer.fingerprint, in_memory(dataset).fingerprint}) == 3
