"""Draws a subset and a validation set from a training set, with the class proportions of the whole set."""

import dataclasses

import numpy as np
import numpy.typing as npt

from resnet_jax.data.dataset import Dataset, Labels, Source
from resnet_jax.errors import UserError

Index = npt.NDArray[np.int64]


def stratified(labels: Labels, count: int, *, seed: int | tuple[int, ...], field: str) -> tuple[Index, Index]:
    """Draws `count` examples with the class proportions of all examples, by the method of the largest remainder.

    A class with n of the N examples has the quota count * n / N. It gets the integer part of its quota. The classes
    with the largest remainders get one example more, until `count` is reached; among equal remainders, the lowest label
    comes first. Within a class, examples are drawn uniformly.

    With the same seed, a larger draw contains all examples of a smaller draw. There is one exception: in rare cases,
    the larger draw has fewer examples of a class (the Alabama paradox of this method).

    Args:
      labels: [N] int32.
      count: number of examples to draw, from 1 to N.
      seed: random seed of the draw.
      field: name of the configuration's field, for messages, such as "data.train_subset".

    Returns:
      Positions of the drawn examples [count] and of the others [N - count], int64, both in increasing order.

    Raises:
      UserError: `count` is not from 1 to N, or a class would get no example.
    """
    total = len(labels)
    if not 1 <= count <= total:
        raise UserError(f"{field}: got {count}; legal: 1 to {total}, the number of images to choose from.")
    classes, sizes = np.unique(labels, return_counts=True)
    # Integer arithmetic, so that equal remainders compare as equal.
    share, remainder = np.divmod(count * sizes.astype(np.int64), total)
    more = count - int(share.sum())
    share[np.argsort(-remainder, kind="stable")[:more]] += 1
    if (share == 0).any():
        first, enough = classes[share == 0][0], -(-total // int(sizes.min()))
        raise UserError(
            f"{field}: got {count}, which leaves class {first} without an image; give at least {enough}: then every "
            f"class gets an image, even the smallest class, which has {sizes.min()} of the {total} images."
        )
    rng = np.random.default_rng(seed)
    chosen = np.zeros(total, np.bool_)
    for label, size in zip(classes, share, strict=True):
        chosen[rng.permutation(np.flatnonzero(labels == label))[:size]] = True
    return np.flatnonzero(chosen).astype(np.int64), np.flatnonzero(~chosen).astype(np.int64)


def apply(
    dataset: Dataset, *, train_subset: int | None, validation: int, split_seed: int
) -> tuple[Dataset, Source | None]:
    """Draws a subset of the training set, and then draws a validation set from this subset.

    Args:
      dataset: the whole data set.
      train_subset: number of training images to keep; None: all.
      validation: number of these images to hold out for validation; 0: none.
      split_seed: random seed of both draws. The subset does not depend on `validation`.

    Returns:
      The data set with the remaining training images, and the validation set or None. If images were removed, the name
      of the data set says how many training images remain.

    Raises:
      UserError: a number is too large, or a class would have no image for training or for validation.
    """
    train, held_out = dataset.train, None
    # The draws have different seeds, so that they are independent.
    if train_subset is not None:
        chosen, rest = stratified(train.labels, train_subset, seed=(split_seed, 0), field="data.train_subset")
        train = train.part(chosen) if len(rest) else train
    if validation:
        if validation >= len(train):
            raise UserError(
                f"data.validation: got {validation}; legal: 0 to {len(train) - 1}, so that at least one of the "
                f"{len(train)} images is left to train on."
            )
        chosen, rest = stratified(train.labels, validation, seed=(split_seed, 1), field="data.validation")
        lost = np.setdiff1d(train.labels, train.labels[rest])
        if len(lost):
            raise UserError(
                f"data.validation: got {validation}, which leaves class {lost[0]} without an image to train on; "
                "hold out fewer images."
            )
        train, held_out = train.part(rest), train.part(chosen)
    if len(train) == len(dataset.train):
        return dataset, None
    name = f"{dataset.name}, {len(train):,} training images"
    if held_out is not None:
        name += f", {len(held_out):,} held out"
    return dataclasses.replace(dataset, name=name, train=train), held_out
