"""Data sets: training, validation and test images with their labels, in memory or decoded on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from resnet_jax.errors import UserError
from resnet_jax.text import composed

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]
Positions = npt.NDArray[np.integer[Any]]
# Number of images that are read at once when all images of a source are read.
PIECE = 1024


class Digest(Protocol):
    """The interface of a digest of hashlib, such as hashlib.sha256()."""

    def update(self, data: Any, /) -> None:
        """Adds bytes, or the memory of an array, to the digest."""


class Draws(NamedTuple):
    """The seed and the epochs that determine the random crops of training images."""

    seed: int
    """Random seed of the run."""
    epoch: Positions
    """[B], the epoch of each image."""


class Source(Protocol):
    """The interface of a training, validation or test set: N labelled images, at positions 0 to N - 1.

    Only `take` returns pixels, so a source may keep them in memory or decode them on demand. An image depends only on
    its position and, in training, on the run's seed and the image's epoch. It does not depend on earlier calls. So
    several processes can each take their part of a batch, and a resumed run gets the same images as an uninterrupted
    one.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""

    @property
    def labels(self) -> Labels:
        """The class of every image, [N] int32."""

    def __len__(self) -> int:
        """The number of images, N."""

    def take(self, index: Positions, draws: Draws | None = None) -> Images:
        """Returns some of the images, as a new array.

        Args:
          index: [B] positions from 0 to N - 1.
          draws: seed and epochs of random crops, for sources that crop training images while they decode them. None:
            the images are for evaluation. Sources in memory ignore `draws`, because the train step augments the images.

        Returns:
          [B, H, W, C] uint8.
        """

    def begin(self, index: Positions, draws: Draws | None = None) -> None:
        """Announces a later call of `take` with the same arguments, so that the source can decode the images in
        advance.

        This does not change the result of `take`. A source in memory does nothing.
        """

    def part(self, index: Positions) -> Source:
        """Returns a source with the images at the positions `index` [B], in that order."""

    def fingerprint(self, digest: Digest) -> None:
        """Adds data that identify the images and labels to a digest."""


@dataclass(frozen=True)
class ArraySource:
    """A source in memory: images [N, H, W, C] uint8 and labels [N] int32. It implements the interface `Source`."""

    images: Images
    """Code that works with any source calls `take` instead."""
    labels: Labels

    def __post_init__(self) -> None:
        assert self.images.dtype == np.uint8
        assert self.images.ndim == 4, "[N, H, W, C]"
        assert self.labels.dtype == np.int32
        assert self.labels.shape == self.images.shape[:1]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def take(self, index: Positions, draws: Draws | None = None) -> Images:
        """Returns the images at the positions `index` [B], as a new array [B, H, W, C] uint8; ignores `draws`."""
        taken: Images = self.images[index]
        return taken

    def begin(self, index: Positions, draws: Draws | None = None) -> None:
        """Does nothing, because the images are in memory."""

    def part(self, index: Positions) -> ArraySource:
        """Returns a source with the images at the positions `index` [B], in that order."""
        return ArraySource(self.images[index], self.labels[index])

    def fingerprint(self, digest: Digest) -> None:
        """Adds the shape, the pixels and the labels to a digest."""
        digest.update(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels.astype("<i4")).data)


def all_images(source: Source) -> Iterator[Images]:
    """Yields all images in order, in arrays [n, H, W, C] uint8 of at most PIECE images."""
    for start in range(0, len(source), PIECE):
        yield source.take(np.arange(start, min(start + PIECE, len(source))))


@dataclass(frozen=True)
class Dataset:
    """A training set, a test set and the names of their classes.

    Raises:
      UserError: a set is empty, training and test images have different shapes, or a label is not from 0 to
        num_classes - 1.
    """

    name: str
    """The name in tables, such as "CIFAR-10"."""
    train: Source
    test: Source
    class_names: tuple[str, ...]
    validation: Source | None = None
    """Images held out of the training set; None if the configuration has no validation set."""

    def __post_init__(self) -> None:
        held_out = [("validation", self.validation)] if self.validation is not None else []
        for word, source in (("training", self.train), ("test", self.test), *held_out):
            if len(source) == 0:
                raise UserError(f"{self.name}: the {word} set is empty.")
            low, high = int(source.labels.min()), int(source.labels.max())
            if low < 0 or high >= self.num_classes:
                raise UserError(
                    f"{self.name}: the {word} set has labels from {low} to {high}; "
                    f"legal: 0 to {self.num_classes - 1}, for {self.num_classes} classes."
                )
        if self.train.shape != self.test.shape:
            raise UserError(
                f"{self.name}: training images have the shape {self.train.shape} and test images {self.test.shape} "
                f"(height, width, channels); both must have the same shape."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return self.train.shape

    @property
    def sources(self) -> dict[str, Source]:
        """The sets by name: "train", "validation" (if there is one) and "test"."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: source for name, source in named.items() if source is not None}

    @cached_property
    def fingerprint(self) -> str:
        """A digest that identifies the data: SHA-256 of class names and images, shortened to 16 hexadecimal digits.

        For images in memory, it depends on their shape, pixels and labels. For streamed images, see
        `stream.StreamSource.fingerprint`.
        """
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        for source in (self.train, self.test, self.validation):
            if source is not None:
                source.fingerprint(digest)
        return digest.hexdigest()[:16]


def require_names(names: Sequence[str], what: str) -> None:
    """Checks that the names of classes are printable and different.

    Raises:
      UserError: a name is empty, a name has control characters, or two names are equal. The message starts with
        `what`.
    """
    numbers: dict[str, int] = {}
    for i, name in enumerate(names):
        if not name.strip() or not name.isprintable():
            raise UserError(
                f"{what} gives class {i} the name {name!a}; legal: a name that is not empty and has no control "
                "characters."
            )
        first = numbers.setdefault(composed(name), i)
        if first != i:
            raise UserError(f"{what} gives class {first} and class {i} the same name, {name!r}; the names must differ.")
