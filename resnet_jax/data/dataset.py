"""Data sets: labelled images by position, from any source."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from resnet_jax.errors import UserError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]
Positions = npt.NDArray[np.integer[Any]]
# Images in a piece when all images of a source are read.
PIECE = 1024


class Digest(Protocol):
    """The interface of hashlib's objects."""

    def update(self, data: Any, /) -> None:
        """Adds bytes, or an array's memory."""


class Draws(NamedTuple):
    """The seed and epochs that decide the random crops of training images."""

    seed: int
    """Random seed of the run."""
    epoch: Positions
    """[B], the epoch of each image."""


class Source(Protocol):
    """Labelled images by position: a training, a validation or a test set.

    Pixels are read only by `take`, so a source may keep them in memory or decode them when they are needed. An image
    depends only on its position, and in training also on the run's seed and the image's epoch. It does not depend on
    other or earlier requests. So several processes may each take their own rows of a batch, and a run that goes on at a
    later step takes what it would have taken.
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
          draws: for training, if the source crops images while it decodes them; None: the images for evaluation. Images
            in memory are equal in every epoch, and are augmented in the train step.

        Returns:
          [B, H, W, C] uint8.
        """

    def begin(self, index: Positions, draws: Draws | None = None) -> None:
        """Announces a call of `take` with these arguments, so that a source can prepare the images in the meantime.

        This changes no result. A source in memory does nothing.
        """

    def part(self, index: Positions) -> Source:
        """A source with some of the images, in the order of `index` [B]."""

    def fingerprint(self, digest: Digest) -> None:
        """Adds to a digest what identifies these images and labels."""


@dataclass(frozen=True)
class ArraySource:
    """A source in memory: images [N, H, W, C] uint8 and labels [N] int32."""

    images: Images
    """For code that reads data sets; code that uses a source calls `take`."""
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
        """See Source."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def take(self, index: Positions, draws: Draws | None = None) -> Images:
        """See Source."""
        taken: Images = self.images[index]
        return taken

    def begin(self, index: Positions, draws: Draws | None = None) -> None:
        """See Source."""

    def part(self, index: Positions) -> ArraySource:
        """See Source."""
        return ArraySource(self.images[index], self.labels[index])

    def fingerprint(self, digest: Digest) -> None:
        """Adds shape, pixels and labels."""
        digest.update(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels.astype("<i4")).data)


def all_images(source: Source) -> Iterator[Images]:
    """Yields every image once, in order, in pieces of at most PIECE images [n, H, W, C]."""
    for start in range(0, len(source), PIECE):
        yield source.take(np.arange(start, min(start + PIECE, len(source))))


@dataclass(frozen=True)
class Dataset:
    """A training set, a test set and the names of their classes.

    Raises:
      UserError: an empty source, image shapes that differ between sources, or labels that are not 0 .. classes - 1.
    """

    name: str
    """The name for tables: "digits", "CIFAR-10"."""
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
                f"{self.name}: training images are {self.train.shape}, test images {self.test.shape} (height, width, "
                f"channels); they must agree."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.train.shape

    @property
    def sources(self) -> dict[str, Source]:
        """The sources by name: "train", "validation" if there is one, "test"."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: source for name, source in named.items() if source is not None}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the class names and the fingerprints of the sources, shortened to 16 hexadecimal digits.

        A source in memory adds its shape, pixels and labels.
        """
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        for source in (self.train, self.test, self.validation):
            if source is not None:
                source.fingerprint(digest)
        return digest.hexdigest()[:16]


def require_names(names: Sequence[str], what: str) -> None:
    """Checks that the names of classes can be printed and are different.

    Raises:
      UserError: a name is empty or has control characters, or two are equal; the message starts with `what`.
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
            raise UserError(f"{what} names both class {first} and class {i} {name!r}; the names must differ.")
