"""Loss and error are weighted sums over examples, never means of means."""

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.data.order import eval_batches
from resnet_jax.training.losses import cross_entropy
from resnet_jax.training.metrics import Miscounted, Sums, Tally, Totals, weighted_sums

LOGITS = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2], np.int32)


def test_padding_counts_nothing_even_where_its_loss_is_not_a_number() -> None:
    losses = jnp.asarray([1.0, 2.0, jnp.inf, jnp.nan])
    logits = jnp.asarray([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    sums = weighted_sums(losses, logits, jnp.asarray([0, 1, 0, 0]), jnp.asarray([1.0, 1.0, 0.0, 0.0]))
    assert (float(sums.loss), float(sums.errors), float(sums.examples)) == (3.0, 1.0, 2.0)


@pytest.mark.parametrize("sizes", [(7,), (4, 3), (1, 1, 5), (6, 1)])
def test_totals_do_not_depend_on_the_cut_into_batches(sizes: tuple[int, ...]) -> None:
    losses = cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS))
    totals = Totals()
    for start, size in zip(np.cumsum((0, *sizes[:-1])), sizes, strict=True):
        part = slice(int(start), int(start) + size)
        totals.add(weighted_sums(losses[part], jnp.asarray(LOGITS[part]), jnp.asarray(LABELS[part]), jnp.ones(size)))
    assert totals.examples == 7
    assert totals.errors == int((LOGITS.argmax(axis=1) != LABELS).sum())
    assert totals.mean_loss == pytest.approx(float(np.mean(losses)), rel=1e-6)


IMAGENET = 1_281_167  # training images


def test_counts_are_exact_up_to_imagenet_in_one_step_and_over_many() -> None:
    # Labels and logits that make every third example wrong.
    wrong = np.arange(IMAGENET) % 3 == 0
    logits = jnp.asarray(np.stack([wrong, ~wrong], axis=1).astype(np.float32))
    labels = jnp.ones(IMAGENET, jnp.int32)
    ones = jnp.ones(IMAGENET, jnp.float32)
    sums = weighted_sums(ones, logits, labels, ones)
    assert sums.examples.dtype == sums.errors.dtype == jnp.float32
    assert (int(sums.examples), int(sums.errors)) == (IMAGENET, int(wrong.sum()))
    totals = Totals()
    for start in range(0, 50 * IMAGENET, 50 * 256):  # fifty epochs, 64 million examples: more than float32 can count
        size = np.float32(min(50 * 256, 50 * IMAGENET - start))
        totals.add(Sums(np.float32(0.5) * size, size, size))  # type: ignore[arg-type]
    assert (totals.examples, totals.errors, totals.loss) == (50 * IMAGENET, 50 * IMAGENET, 25.0 * IMAGENET)


def counted(batches: list[tuple[np.ndarray, np.ndarray]], examples: int) -> None:
    tally, totals = Tally("test", examples), Totals()
    for index, weight in batches:
        tally.add(index, weight)
        totals.examples += int(weight.sum())
    tally.check(totals)


def test_a_tally_finds_what_a_sum_of_weights_does_not() -> None:
    batches = list(eval_batches(10, 4))
    counted(batches, 10)
    batches[1][0][2] = 3  # example 3 again, in the place of example 6: the sum of weights is still ten
    with pytest.raises(Miscounted, match=r"test: 2 of 10 examples .* the first is example 3, counted 2 times\."):
        counted(batches, 10)
    batches[1][0][2] = 10
    with pytest.raises(Miscounted, match="positions outside the split"):
        counted(batches, 10)


def test_a_tally_compares_with_what_the_devices_counted() -> None:
    tally = Tally("test", 10)
    for index, weight in eval_batches(10, 4):
        tally.add(index, weight)
    with pytest.raises(Miscounted, match="the devices counted 12 examples in an evaluation of 10"):
        tally.check(Totals(examples=12))
    with pytest.raises(Miscounted, match="weights other than 0 and 1"):
        tally.add(np.array([1], np.int32), np.array([0.5], np.float32))
