"""The one form in which every source of data ends."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from resnet_jax.config import DataConfig
from resnet_jax.errors import UserError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Split:
    """Images [N, H, W, C] uint8 and labels [N] int32."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def __bool__(self) -> bool:
        return True  # an empty split is still one


@dataclass(frozen=True)
class Dataset:
    """A training set, a test set and the names of their classes.

    Raises:
      UserError: an empty split, image shapes that differ between splits, or labels that are not 0 .. classes - 1.
    """

    name: str
    """As one would write it in a table: "digits", "CIFAR-10"."""
    train: Split
    test: Split
    class_names: tuple[str, ...]
    validation: Split | None = None
    """Held out of the training set, where the configuration asks for it."""

    def __post_init__(self) -> None:
        held_out = [("validation", self.validation)] if self.validation else []
        for word, split in (("training", self.train), ("test", self.test), *held_out):
            if len(split) == 0:
                raise UserError(f"{self.name}: the {word} set is empty.")
            assert split.images.dtype == np.uint8, "sources end in uint8"
            assert split.images.ndim == 4, "[N, H, W, C]"
            assert split.labels.dtype == np.int32
            assert split.labels.shape == split.images.shape[:1]
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.num_classes:
                raise UserError(
                    f"{self.name}: the {word} set has labels from {low} to {high}; "
                    f"legal: 0 to {self.num_classes - 1}, for {self.num_classes} classes."
                )
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise UserError(
                f"{self.name}: training images are {self.train.images.shape[1:]}, "
                f"test images {self.test.images.shape[1:]} (height, width, channels); they must agree."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        _, height, width, channels = self.train.images.shape
        return height, width, channels

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over arrays, shapes and class names, shortened to 16 hexadecimal digits."""
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        for split in filter(None, (self.train, self.test, self.validation)):
            digest.update(repr(split.images.shape).encode())
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(np.ascontiguousarray(split.labels.astype("<i4")).data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Normalization:
    """normalised = (pixels / 255 - mean) / std; mean and std broadcast over [N, H, W, C]."""

    mean: npt.NDArray[np.float64]
    """[1, H, W, C] (pixel_mean) or [1, 1, 1, C], in units of pixels / 255."""
    std: npt.NDArray[np.float64]
    """[1, 1, 1, C] or [1, 1, 1, 1]."""


def require_names(names: Sequence[str], what: str) -> None:
    """Makes sure that the names of classes can be printed and told apart, as names of folders can.

    Raises:
      UserError: one is empty or has control characters, or two are the same; its sentence starts with `what`.
    """
    numbers: dict[str, int] = {}
    for i, name in enumerate(names):
        if not name.strip() or not name.isprintable():
            raise UserError(
                f"{what} names class {i} {name!a}; legal: a name that is not empty and has no control characters."
            )
        # Composed: the same letter may be written as one character or as two.
        first = numbers.setdefault(unicodedata.normalize("NFC", name), i)
        if first != i:
            raise UserError(f"{what} names both class {first} and class {i} {name!r}; each needs a name of its own.")


def normalization(images: Images, config: DataConfig) -> Normalization:
    """The statistics of training images that `config.normalize` names, by exact integer sums.

    "pixel_mean" subtracts the mean image and divides by nothing (He et al. 2015, Sec. 4.2). The paper does not give
    the scale of its pixels; here they are in [0, 1]. The first BN makes the scale irrelevant.
    """
    n = len(images)
    if config.normalize == "pixel_mean":
        mean = images.sum(axis=0, keepdims=True, dtype=np.int64) / (n * 255.0)
        return Normalization(mean, np.ones((1, 1, 1, 1)))
    count = images[..., 0].size
    first = images.sum(axis=(0, 1, 2), keepdims=True, dtype=np.int64)
    second = np.zeros_like(first)
    for start in range(0, n, 1024):  # in pieces: the squares need eight bytes where the pixels need one
        second += np.square(images[start : start + 1024], dtype=np.int64).sum(axis=(0, 1, 2), keepdims=True)
    mean = first / count
    std = np.sqrt(second / count - np.square(mean))
    # A channel that never varies (grey stored as colour has none, a blank channel has) is left unscaled.
    return Normalization(mean / 255.0, np.where(std > 0.0, std / 255.0, 1.0))
