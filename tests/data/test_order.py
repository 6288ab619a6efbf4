"""The order of examples: every one once an epoch, the same from any starting step."""

from itertools import islice

import numpy as np
import pytest

from resnet_jax.data.order import epoch_order, epochs_done, eval_batches, training_batches


def take(steps: int, *, first: int = 0, seed: int = 0, examples: int = 50, batch: int = 16) -> tuple[np.ndarray, ...]:
    batches = list(islice(training_batches(seed=seed, examples=examples, batch_size=batch, first_step=first), steps))
    return np.concatenate([b.index for b in batches]), np.concatenate([b.epoch for b in batches])


@pytest.mark.parametrize(("examples", "batch"), [(50, 16), (48, 16), (7, 16), (1, 3), (1437, 128)])
def test_every_example_comes_once_an_epoch_and_none_is_dropped(examples: int, batch: int) -> None:
    steps = -(-3 * examples // batch)
    index, epoch = take(steps, examples=examples, batch=batch)
    for e in range(3):
        assert sorted(index[epoch == e]) == list(range(examples))
    assert (np.diff(epoch) >= 0).all()


@pytest.mark.parametrize("first", [1, 3, 4, 7])
def test_starting_late_skips_and_repeats_nothing(first: int) -> None:
    index, epoch = take(10)
    late_index, late_epoch = take(10 - first, first=first)
    np.testing.assert_array_equal(late_index, index[16 * first :])
    np.testing.assert_array_equal(late_epoch, epoch[16 * first :])


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = [epoch_order(seed, epoch, 100).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(o) for o in orders}) == 4
    assert all(sorted(o) == list(range(100)) for o in orders)


def test_order_is_uniform_over_positions() -> None:
    # Where example 0 comes in 4,000 epochs of 8 examples: each position 500 times, standard deviation about 21.
    places = [int(np.flatnonzero(epoch_order(1, e, 8) == 0)[0]) for e in range(4000)]
    counts = np.bincount(places, minlength=8)
    assert (np.abs(counts - 500) < 5 * np.sqrt(500 * 7 / 8)).all()


@pytest.mark.parametrize(("step", "done"), [(0, 0), (3, 0), (4, 1), (6, 1), (7, 2)])
def test_epochs_done(step: int, done: int) -> None:
    # 50 examples in batches of 16: 3 steps see 48, 4 see 64; 7 see 112.
    assert epochs_done(step, examples=50, batch_size=16) == done


@pytest.mark.parametrize("examples", [1, 7, 359, 1000])
@pytest.mark.parametrize("batch", [1, 8, 128, 1024])
@pytest.mark.parametrize("devices", [1, 3, 8])
def test_evaluation_counts_every_example_once(examples: int, batch: int, devices: int) -> None:
    counted = np.zeros(examples)
    batches = list(eval_batches(examples, batch, devices))
    assert len(batches) == -(-examples // batch)  # whatever the devices: the padding takes no example's place
    for index, weight in batches:
        assert index.shape == weight.shape
        assert index.size % devices == 0
        assert batch <= index.size < batch + devices
        assert (index.dtype, weight.dtype) == (np.int32, np.float32)
        assert (index >= 0).all()
        assert (index < examples).all()
        np.add.at(counted, index, weight)
    np.testing.assert_array_equal(counted, 1.0)
