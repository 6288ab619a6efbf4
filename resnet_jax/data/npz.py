"""NumPy's .npz files as a data set: two arrays of images, two of labels."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resnet_jax.data.dataset import Dataset, Images, Labels, Split
from resnet_jax.errors import UserError

KEYS = ("train_images", "train_labels", "test_images", "test_labels")
KERAS_KEYS = ("x_train", "y_train", "x_test", "y_test")  # as keras.datasets names and stores them

Array = npt.NDArray[Any]


def load(path: str) -> Dataset:
    """Reads train_images, train_labels, test_images and test_labels, or Keras's x_train, y_train, x_test, y_test.

    Images are uint8 [N, H, W] or [N, H, W, C]; labels are whole numbers [N] or [N, 1] from 0. Names of the classes
    are in class_names, an array of strings [K]; without it the classes are "0", "1", ... up to the highest label.
    Pickled objects are never read: they could run any program.

    Raises:
      UserError: the file is missing or damaged, or an array is missing or not as described here.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        problem = "it is a folder" if place.is_dir() else "there is no such file"
        raise UserError(f"data.path: got {path!r}, but {problem}; give an .npz file.")
    arrays = _arrays(place)
    splits = [
        _split(place, keys, arrays[keys[0]], arrays[keys[1]])
        for keys in _pairs(KEYS if KEYS[0] in arrays else KERAS_KEYS)
    ]
    return Dataset(f"{place.stem} (npz)", splits[0], splits[1], _class_names(place, arrays.get("class_names"), splits))


def _pairs(keys: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(keys[0], keys[1]), (keys[2], keys[3])]


def _arrays(path: Path) -> dict[str, Array]:
    key = ""
    try:
        # Asked here, for NumPy takes whatever is no zip file for a pickle.
        if not zipfile.is_zipfile(path):
            raise UserError(
                f"data.path: {path} is not an .npz file, or it is truncated; write it with np.savez and the arrays "
                f"{', '.join(KEYS)}."
            )
        with np.load(path, allow_pickle=False) as file:
            legal = next((keys for keys in (KEYS, KERAS_KEYS) if set(keys) <= set(file.files)), None)
            if legal is None:
                there = ", ".join(sorted(file.files)) or "nothing"
                raise UserError(
                    f"data.path: {path} has {there}; needed: {', '.join(KEYS)} (or {', '.join(KERAS_KEYS)}), "
                    "and class_names if you like."
                )
            arrays = {}
            for key in (*legal, "class_names"):
                if key in file.files:
                    arrays[key] = file[key]
            return arrays
    except UserError:
        raise
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        if isinstance(error, ValueError) and "allow_pickle" in str(error):
            raise UserError(
                f"data.path: {key} in {path} holds pickled Python objects, which are not read, for they could run any "
                "program; store an array of numbers, or of strings for class_names (dtype=str)."
            ) from None
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        what = f"{key} in {path}" if key else str(path)
        raise UserError(f"data.path: {what} cannot be read ({reason.rstrip('.')}); write the file again.") from None


def _split(path: Path, keys: tuple[str, str], images: Array, labels: Array) -> Split:
    checked = _images(f"data.path: {keys[0]} in {path}", images), _labels(f"data.path: {keys[1]} in {path}", labels)
    if len(images) != len(labels):
        raise UserError(
            f"data.path: {path} has {len(images):,} {keys[0]} and {len(labels):,} {keys[1]}; "
            "each image needs one label."
        )
    return Split(*checked)


def _images(what: str, images: Array) -> Images:
    if images.dtype != np.uint8:
        if images.dtype.kind == "f":
            remedy = "convert with np.rint(images * 255).astype(np.uint8) if they are from 0 to 1, without the * 255"
            remedy += " if they are from 0 to 255"
        else:
            remedy = "convert with images.astype(np.uint8), once all values are from 0 to 255"
        raise UserError(f"{what} has dtype {images.dtype}; legal: uint8; {remedy}.")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise UserError(
            f"{what} has the shape {images.shape}; legal: [N, H, W] or [N, H, W, C], none of them 0, "
            "as images.reshape(N, H, W, C) gives it."
        )
    if images.ndim == 3:
        return np.ascontiguousarray(images[..., None])
    # PyTorch's order would otherwise pass for images of height 3 with many channels.
    _, height, width, channels = images.shape
    if height in (1, 3) and width == channels > 4:
        raise UserError(
            f"{what} has the shape {images.shape}, channels first; legal: [N, H, W, C]; "
            "convert with images.transpose(0, 2, 3, 1)."
        )
    return np.ascontiguousarray(images)


def _labels(what: str, labels: Array) -> Labels:
    shape = labels.shape
    if labels.ndim == 2 and shape[1] == 1:  # as Keras stores CIFAR's
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "; from one-hot labels, labels.argmax(axis=1) makes them" if labels.ndim == 2 else ""
        raise UserError(f"{what} has the shape {shape}; legal: [N]{hint}.")
    if labels.dtype.kind not in "iu":
        raise UserError(
            f"{what} has dtype {labels.dtype}; legal: whole numbers, as labels.astype(np.int64) gives them."
        )
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if low < 0:
        raise UserError(f"{what} has the label {low}; legal: whole numbers from 0.")
    if high > np.iinfo(np.int32).max:
        raise UserError(f"{what} has the label {high}; number the classes from 0 without gaps.")
    return labels.astype(np.int32)


def _class_names(path: Path, names: Array | None, splits: list[Split]) -> tuple[str, ...]:
    train, test = splits
    count = 1 + max(int(split.labels.max(initial=0)) for split in splits)
    if names is None:
        # More classes than images: most likely these are no labels at all, and their names could fill the memory.
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
                f"data.path: {path} has labels up to {count - 1} and {len(found)} class_names; "
                f"legal: labels from 0 to {len(found) - 1}."
            )
    if len(found) < 2:
        raise UserError(f"data.path: {path} has only one class; a classifier needs at least two.")
    return found
