"""Parts of a training set in which each class has its share: a subset to train on, a validation set held out."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from resnet_jax.data.dataset import Dataset, Labels, Source
from resnet_jax.errors import UserError

Index = npt.NDArray[np.int64]


def stratified(labels: Labels, count: int, *, seed: int | tuple[int, ...], field: str) -> tuple[Index, Index]:
    """Draws `count` examples, each class in proportion, by the method of the largest remainder.

    A class of n of the N examples has the quota count * n / N. It gets the whole part of it, and the classes with the
    largest remainders get one more each until there are `count`; among equal remainders the lowest label comes first.
    In a class the draw is uniform. With the same seed a larger draw contains a smaller one, but for a class whose
    share shrinks as `count` grows, as largest remainders now and then have it.

    Args:
      labels: [N] int32.
      count: how many to draw, from 1 to N.
      seed: random seed of the draw.
      field: the configuration's field for messages, such as "data.train_subset".

    Returns:
      Positions of the examples drawn [count] and of the others [N - count], int64, rising.

    Raises:
      UserError: `count` is not from 1 to N, or a class would have no example among those drawn.
    """
    total = len(labels)
    if not 1 <= count <= total:
        raise UserError(f"{field}: got {count}; legal: 1 to {total}, the number of images to choose from.")
    classes, sizes = np.unique(labels, return_counts=True)
    # Whole numbers throughout: remainders that are equal compare equal.
    share, remainder = np.divmod(count * sizes.astype(np.int64), total)
    more = count - int(share.sum())
    share[np.argsort(-remainder, kind="stable")[:more]] += 1
    if (share == 0).any():
        first, enough = classes[share == 0][0], -(-total // int(sizes.min()))
        raise UserError(
            f"{field}: got {count}, which leaves class {first} without an image ({sizes.min()} of {total} in the "
            f"smallest class); {enough} are enough for one of each class."
        )
    rng = np.random.default_rng(seed)
    chosen = np.zeros(total, np.bool_)
    for label, size in zip(classes, share, strict=True):
        chosen[rng.permutation(np.flatnonzero(labels == label))[:size]] = True
    return np.flatnonzero(chosen).astype(np.int64), np.flatnonzero(~chosen).astype(np.int64)


def apply(
    dataset: Dataset, *, train_subset: int | None, validation: int, split_seed: int
) -> tuple[Dataset, Source | None]:
    """Reduces the training set: to a subset first, then by a validation set held out of what is left.

    Args:
      dataset: whole.
      train_subset: images of the training set to keep; None: all.
      validation: how many of those to hold out; 0: none.
      split_seed: random seed of both draws. The subset does not depend on `validation`.

    Returns:
      The data set, its name with the number of training images if they are fewer now, and the validation set or None.

    Raises:
      UserError: a number is too large, or leaves a class without an image in training or in validation.
    """
    train, held_out = dataset.train, None
    # Each draw has its own stream: from the same one the second would follow the first.
    if train_subset is not None:
        chosen, rest = stratified(train.labels, train_subset, seed=(split_seed, 0), field="data.train_subset")
        train = train.part(chosen) if len(rest) else train
    if validation:
        if validation >= len(train):
            raise UserError(
                f"data.validation: got {validation}; legal: 0 to {len(train) - 1}, so that of {len(train)} images "
                "some are left to train on."
            )
        chosen, rest = stratified(train.labels, validation, seed=(split_seed, 1), field="data.validation")
        lost = np.setdiff1d(train.labels, train.labels[rest])
        if len(lost):
            raise UserError(
                f"data.validation: got {validation}, which leaves class {lost[0]} without an image to train on; "
                "hold out fewer."
            )
        train, held_out = train.part(rest), train.part(chosen)
    if len(train) == len(dataset.train):
        return dataset, None
    name = f"{dataset.name}, {len(train):,} training images"
    if held_out is not None:
        name += f", {len(held_out):,} held out"
    return dataclasses.replace(dataset, name=name, train=train), held_out
