"""What a run sees: a data set, the part of it that is used, its normalisation and its augmentation."""

from __future__ import annotations

import pkgutil
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from resnet_jax.config.section import DATA, OPERATIONAL, Condition, Role, Section, field, only_with
from resnet_jax.errors import UserError

SOURCES: tuple[str, ...] = tuple(
    module.name for module in pkgutil.iter_modules([str(Path(__file__).parents[1] / "data" / "sources")])
)
"""The modules of data/sources by name: each is a legal `data.source`. They are listed here, and imported on use."""
if TYPE_CHECKING:
    SourceName: TypeAlias = str
else:
    SourceName = Literal[SOURCES]


@dataclass(frozen=True)
class DataConfig(Section):
    """What a run sees: a data set, its normalisation and its augmentation."""

    _section: typing.ClassVar[str] = "data"

    source: SourceName = field("digits", DATA, open_in_papers=True)  # noqa: RUF009  # as every other field
    """"digits": scikit-learn's 1,797 real handwritten digits, 8x8 pixels, embedded, no download; "tfds": `name` from
    TensorFlow Datasets; "folder": images in <path>/{train,test}/<class>/; "npz": NumPy arrays in one file."""
    name: str | None = field(None, DATA, needs=only_with("data.source", "tfds"), open_in_papers=True)
    """For "tfds": the data set's name, such as cifar10."""
    path: str | None = field(
        None,
        Role("place", compared="never", open_in_papers=True, is_path=True, bound_to="data.source"),
        needs=Condition(lambda data: data.source != "digits", "another data.source than 'digits'"),
    )
    """Where the images are. For "tfds": its data directory, where not the usual one."""
    image_size: int | None = field(None, DATA, needs=only_with("data.source", "folder"))
    """For "folder": resize each image's shorter side to this many pixels and keep the square in its middle; None: all
    images must have one size already."""
    bad_images: Literal["stop", "skip"] = field(
        "stop", DATA, needs=only_with("data.source", "folder"), open_in_papers=True
    )
    """For "folder": at an image that cannot be read, stop and name it, or leave it out and say how many were."""
    train_subset: int | None = field(None, DATA, words="training images")
    """Train on this many of the training images, each class in proportion, chosen by `split_seed`; None: on all."""
    validation: int = field(0, DATA)
    """Hold this many training images out, each class in proportion, chosen by `split_seed`, and evaluate on them along
    the way; the test set is then evaluated once, at the last step. The paper's 45k/5k split: 5000."""
    split_seed: int = field(
        0,
        DATA,
        needs=Condition(
            lambda data: data.train_subset is not None or data.validation > 0, "data.train_subset or data.validation"
        ),
        open_in_papers=True,
    )
    """Random seed for `train_subset` and `validation`. The run's own seed is another: all seeds see the same images."""
    placement: Literal["auto", "device", "host"] = field("auto", OPERATIONAL)
    """Keep all images on the device, or feed them from the host in batches; "auto": on the device where they fit."""
    normalize: Literal["pixel_mean", "channel_mean_std", "weights"] = field("pixel_mean", DATA)
    """Subtract the training set's mean image and nothing else (the paper), or standardise each channel; "weights": as
    the net of `finetune.weights` was trained, which a frozen part of it needs."""
    pad: int = field(0, DATA, words="padding before the crop")
    """Zero padding on each side, in pixels, before a random crop of the original size; 0: no crop. The paper: 4."""
    flip: bool = field(False, DATA, words="random mirror")
    """Mirror each image with probability 1/2. The paper: on for CIFAR; wrong for digits."""
    mixup: float = field(0.0, DATA)
    """Mix each training image and its label with another's in the batch, with a weight drawn from Beta(mixup, mixup)
    (H. Zhang et al. 2018, arXiv 1710.09412; theirs: 1 for CIFAR, 0.2 for ImageNet); 0: off. Departs from the paper."""
    cutmix: float = field(0.0, DATA)
    """Paste a box of another training image into each, its share of the area drawn from Beta(cutmix, cutmix), and mix
    the labels by area (Yun et al. 2019, arXiv 1905.04899; theirs: 1); 0: off. With `mixup` too, each image has one of
    them, with equal probability. Departs from the paper."""

    def _check(self) -> None:
        self._require(self.pad >= 0, "pad", "a whole number of at least 0")
        for name in ("mixup", "cutmix"):
            self._require(getattr(self, name) >= 0.0, name, "a number of at least 0")
        needs = {"tfds": "name", "folder": "path", "npz": "path"}.get(self.source)
        if needs is not None and not getattr(self, needs):
            raise UserError(f"data.{needs}: got {getattr(self, needs)!r}; data.source={self.source!r} needs it.")
        self._require(self.image_size is None or self.image_size >= 1, "image_size", "a whole number above 0, or None")
        subset = self.train_subset
        self._require(subset is None or subset >= 1, "train_subset", "a whole number above 0, or None")
        for name in ("validation", "split_seed"):
            self._require(getattr(self, name) >= 0, name, "a whole number of at least 0")

    @property
    def mixes(self) -> bool:
        """Whether training images are mixed with one another."""
        return self.mixup > 0.0 or self.cutmix > 0.0
