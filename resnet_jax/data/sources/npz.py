"""Loads a data set from an .npz file of NumPy: two arrays of images and two of labels."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from resnet_jax.config import DataConfig
from resnet_jax.data import arrays, memory
from resnet_jax.data.arrays import Array, Damaged
from resnet_jax.data.dataset import ArraySource, Dataset, Images, Labels, require_names
from resnet_jax.data.known import name_of
from resnet_jax.errors import UserError
from resnet_jax.text import Note, reason, some

KEYS = ("train_images", "train_labels", "test_images", "test_labels")
KERAS_KEYS = ("x_train", "y_train", "x_test", "y_test")  # as keras.datasets names and stores them
CHANNELS = (1, 3, 4)


def load(config: DataConfig, note: Note) -> Dataset:
    """Loads train_images, train_labels, test_images and test_labels, or Keras's x_train, y_train, x_test, y_test.

    Images are uint8 [N, H, W] or [N, H, W, C] with C = 1, 3 or 4. Labels are whole numbers from 0, [N] or [N, 1]. An
    array of strings [K], class_names, may give the names of the classes; the default names are "0", "1" and so on. The
    data set gets the name of the file, or a well-known name such as "CIFAR-10" if known.py recognises its images.

    Raises:
      UserError: the file is missing or damaged.
      UserError: an array is missing, or is not as described here.
      UserError: training and test have different classes.
      UserError: the arrays need more memory than is available.
    """
    assert config.path is not None, "checked by DataConfig"
    place = Path(os.path.expanduser(config.path))
    if not place.is_file():
        problem = "it is a folder" if place.is_dir() else "there is no such file"
        raise UserError(f"data.path: got {config.path!r}, but {problem}; give an .npz file.")
    found = _arrays(place)
    keys = KEYS if KEYS[0] in found else KERAS_KEYS
    splits = [_split(place, pair, found[pair[0]], found[pair[1]]) for pair in (keys[:2], keys[2:])]
    return Dataset(
        name_of(splits[0]) or f"{place.stem} (npz)",
        splits[0],
        splits[1],
        _class_names(place, found.get("class_names"), splits),
    )


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with arrays.opened(path) as file:
            names = [*_legal(path, file.names), *({"class_names"} & set(file.names))]
            size = sum(map(file.size, names))
            memory.require(size, f"data.path: the arrays in {path}", "use fewer images, or smaller ones")
            return {name: file.read(name) for name in names}
    except (Damaged, OSError) as error:
        what = f"{error.name} in {path}" if isinstance(error, Damaged) and error.name else str(path)
        raise UserError(
            f"data.path: {what} cannot be read ({reason(error)}); write it with np.savez and the arrays "
            f"{', '.join(KEYS)} and, optionally, class_names (dtype=str)."
        ) from None


def _legal(path: Path, there: Iterable[str]) -> tuple[str, ...]:
    """The names of four arrays in a file: training images, training labels, test images, test labels.

    `there` has the names of all arrays in the file. Raises UserError if one of the four is missing.
    """
    legal = next((keys for keys in (KEYS, KERAS_KEYS) if set(keys) <= set(there)), None)
    if legal is None:
        found = ", ".join(name if name.isprintable() else ascii(name) for name in sorted(there)) or "nothing"
        raise UserError(
            f"data.path: {path} has {found}; needed: {', '.join(KEYS)} (or {', '.join(KERAS_KEYS)}), "
            "and, optionally, class_names."
        )
    return legal


def _split(path: Path, keys: tuple[str, ...], images: Array, labels: Array) -> ArraySource:
    checked = _images(f"data.path: {keys[0]} in {path}", images), _labels(f"data.path: {keys[1]} in {path}", labels)
    if len(images) != len(labels):
        raise UserError(
            f"data.path: {path} has {len(images):,} {keys[0]} and {len(labels):,} {keys[1]}; "
            "each image needs one label."
        )
    return ArraySource(*checked)


def _images(what: str, images: Array) -> Images:
    if images.dtype != np.uint8:
        if images.dtype.kind == "f":
            remedy = "convert with np.rint(images * 255).astype(np.uint8) if they are from 0 to 1, without the * 255"
            remedy += " if they are from 0 to 255"
        else:
            remedy = "convert with images.astype(np.uint8) if all values are from 0 to 255"
        raise UserError(f"{what} has dtype {images.dtype}; legal: uint8; {remedy}.")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise UserError(
            f"{what} has the shape {images.shape}; legal: [N, H, W] or [N, H, W, C], with lengths above 0; convert "
            "with images.reshape(N, H, W, C)."
        )
    if images.ndim == 3:
        return np.ascontiguousarray(images[..., None])
    # Images in PyTorch's order [N, C, H, W] would look like images of height 3 with many channels.
    if images.shape[3] not in CHANNELS:
        raise UserError(
            f"{what} has the shape {images.shape}, so {images.shape[3]} channels; legal: [N, H, W, C], channels last, "
            "with C = 1, 3 or 4; if the channels come first, convert with images.transpose(0, 2, 3, 1)."
        )
    return np.ascontiguousarray(images)


def _labels(what: str, labels: Array) -> Labels:
    shape = labels.shape
    if labels.ndim == 2 and shape[1] == 1:  # as Keras stores CIFAR's
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "; convert one-hot labels with labels.argmax(axis=1)" if labels.ndim == 2 else ""
        raise UserError(f"{what} has the shape {shape}; legal: [N]{hint}.")
    if labels.dtype.kind not in "iu":
        raise UserError(f"{what} has dtype {labels.dtype}; legal: whole numbers; convert with labels.astype(np.int64).")
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if low < 0:
        raise UserError(f"{what} has the label {low}; legal: whole numbers from 0.")
    most = np.iinfo(np.int32).max
    if high > most:
        raise UserError(f"{what} has the label {high}; legal: at most {most}; number the classes from 0 without gaps.")
    return labels.astype(np.int32)


def _class_names(path: Path, names: Array | None, splits: list[ArraySource]) -> tuple[str, ...]:
    train, test = splits
    count = 1 + max(int(split.labels.max(initial=0)) for split in splits)
    if names is None:
        # With more classes than images, these are probably not labels, and their names could fill the memory.
        if count > len(train) + len(test):
            raise UserError(
                f"data.path: {path} has labels up to {count - 1:,} for {len(train) + len(test):,} images; "
                "number the classes from 0 without gaps."
            )
        found = tuple(map(str, range(count)))
    else:
        if names.ndim != 1 or names.dtype.kind not in "US":
            raise UserError(
                f"data.path: class_names in {path} has dtype {names.dtype} and the shape {names.shape}; "
                "legal: strings [K]."
            )
        found = tuple(
            name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names.tolist()
        )
        if count > len(found):
            raise UserError(
                f"data.path: {path} has labels up to {count - 1}, but only {len(found)} class_names; "
                f"legal: labels from 0 to {len(found) - 1}."
            )
        require_names(found, f"data.path: class_names in {path}")
    if len(found) < 2:
        raise UserError(f"data.path: {path} has only one class; a classifier needs at least two.")
    there = [set(np.unique(split.labels).tolist()) for split in splits]
    if there[0] != there[1]:
        sides = [("training", there[0] - there[1]), ("test", there[1] - there[0])]
        only = ", ".join(
            f"only in {part}: {some([found[i] for i in sorted(labels)])}" for part, labels in sides if labels
        )
        raise UserError(f"data.path: training and test of {path} must have the same classes; {only}.")
    return found
