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

STREAMED = ("folder", "tfds")
"""The sources whose images can be decoded when they are asked for, instead of lying in memory."""
_STREAM = Condition(lambda data: data.streamed, "data.stream=True")
_SCALE = Condition(lambda data: data.streamed and data.crop == "scale", "data.crop='scale'")
_AREA = Condition(lambda data: data.streamed and data.crop == "area", "data.crop='area'")
_PAD = Condition(lambda data: not data.streamed or data.crop == "center", "data.crop='center'")
_SCALES = Condition(lambda data: data.streamed and data.protocol == "multi_scale", "data.protocol='multi_scale'")
_FILES = Condition(lambda data: data.source == "folder" or data.streamed, "data.source='folder' or data.stream=True")


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
    stream: bool = field(False, DATA, needs=only_with("data.source", *STREAMED), open_in_papers=True)
    """For "folder" and "tfds": decode images when they are asked for, instead of holding all of them in memory."""
    classes: tuple[str, ...] = field(
        (),
        DATA,
        needs=_FILES,
    )
    """Only these classes: their names; or one number, for so many in the order of their names. (): all."""
    image_size: int | None = field(
        None,
        DATA,
        needs=_FILES,
    )
    """Height and width in pixels of the square that the net is given. For images in memory: each image's shorter side
    is resized to it and the middle kept; None: all images must have one size already. The paper's, ImageNet: 224."""
    bad_images: Literal["stop", "skip"] = field(
        "stop", DATA, needs=only_with("data.source", "folder"), open_in_papers=True
    )
    """For "folder": at an image that cannot be read, stop and name it, or leave it out and say how many were. With
    `stream` this is decided when the headers of all files are read; an image that fails later stops the run."""
    channels: int | Literal["auto"] = field("auto", DATA, needs=_FILES)
    """1: read all images in grey; 3: read all in colour, as a net for colour images needs it; "auto": grey where every
    image is grey, in training and test, else colour."""
    workers: int | Literal["auto"] = field("auto", OPERATIONAL, needs=_STREAM)
    """Threads that decode images; "auto": as many as there are cores."""
    statistics_images: int = field(10_000, DATA, needs=_STREAM, open_in_papers=True)
    """Training images, evenly spread, from which mean, standard deviation and colour components are taken."""
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
    pad: int = field(0, DATA, words="padding before the crop", needs=_PAD)
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

    crop: Literal["center", "scale", "area"] = field("center", DATA, needs=_STREAM)
    """Training crops of `image_size`. "center": as in evaluation. "scale": the shorter side is resized to a length
    drawn from `scales`, and a square drawn from the image (He et al. 2015, Sec. 3.4). "area": a rectangle whose share
    of the image is drawn from `areas`, and its width / height from `aspects`, is resized to the square
    (fb.resnet.torch)."""
    scales: tuple[int, ...] = field((256, 480), DATA, needs=_SCALE)
    """Shortest and longest length of the shorter side, in pixels. The paper: 256 and 480."""
    areas: tuple[float, ...] = field((0.08, 1.0), DATA, needs=_AREA)
    """Smallest and largest share of the image's area."""
    aspects: tuple[float, ...] = field((0.75, 4 / 3), DATA, needs=_AREA)
    """Smallest and largest width / height of the rectangle."""
    color_noise: float = field(0.0, DATA)
    """Standard deviation of the random multiples of the principal components of colour that are added to an image
    (Krizhevsky et al. 2012, Sec. 4.1: 0.1); 0: none. Images with three channels only."""
    jitter: float = field(0.0, DATA)
    """Brightness, contrast and saturation are each changed by a factor drawn from 1 - jitter to 1 + jitter, in random
    order (fb.resnet.torch: 0.4); 0: not at all. Images with three channels only."""
    eval_resize: int = field(256, DATA, needs=_STREAM)
    """Shorter side in pixels that an image is resized to in evaluation, before its crops are taken. The paper: 256."""
    protocol: Literal["center", "ten_crop", "multi_scale"] = field("center", DATA, needs=_STREAM)
    """What the test set's evaluation after the last step sees of each image; every other evaluation sees the centre
    crop. "ten_crop": the centre, the corners and their mirror images (Tables 2 and 3). "multi_scale": the whole image
    and its mirror image at each of `eval_scales` (Table 4). Probabilities are averaged over what is seen."""
    eval_scales: tuple[int, ...] = field((224, 256, 384, 480, 640), DATA, needs=_SCALES)
    """Lengths of the shorter side in pixels. The paper: the five of the default."""
    eval_multiple: int = field(32, DATA, needs=_SCALES)
    """Multiple in pixels that the longer side is rounded to, so that few shapes are compiled; 1: not rounded."""

    @property
    def streamed(self) -> bool:
        """Whether images are decoded when they are asked for: `stream` has an effect, and is on."""
        return self.stream and self.source in STREAMED

    @property
    def by_protocol(self) -> bool:
        """Whether the test set's last evaluation takes more than the centre crop."""
        return self.streamed and self.protocol != "center"

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
        for name in ("statistics_images", "eval_resize", "eval_multiple"):
            self._require(getattr(self, name) >= 1, name, "a whole number above 0")
        self._require(self.channels in ("auto", 1, 3), "channels", "1, 3 or 'auto'")
        self._require(self.workers == "auto" or self.workers >= 1, "workers", "a whole number above 0, or 'auto'")
        self._require(0.0 <= self.jitter < 1.0, "jitter", "a number from 0 to below 1")
        self._require(self.color_noise >= 0.0, "color_noise", "a number of at least 0")
        for name, most in (("scales", None), ("areas", 1), ("aspects", None)):
            values = getattr(self, name)
            legal = len(values) == 2 and 0 < values[0] <= values[1] and (most is None or values[1] <= most)
            what = f"two numbers above 0{f' and up to {most}' if most else ''}, the smaller first"
            self._require(legal, name, what)
        self._require(
            bool(self.eval_scales) and min(self.eval_scales) >= 1, "eval_scales", "whole numbers above 0, at least one"
        )
        if self.streamed:
            self._check_stream()
        for name in ("validation", "split_seed"):
            self._require(getattr(self, name) >= 0, name, "a whole number of at least 0")

    @property
    def mixes(self) -> bool:
        """Whether training images are mixed with one another."""
        return self.mixup > 0.0 or self.cutmix > 0.0

    def _check_stream(self) -> None:
        size = self.image_size
        if size is None:
            raise UserError("data.image_size: got None; legal: a number of pixels, because data.stream=True needs one.")
        self._require(self.placement != "device", "placement", "'auto' or 'host', because of data.stream=True")
        self._require(self.eval_resize >= size, "eval_resize", f"at least data.image_size, which is {size}")
        if self.crop == "scale":
            self._require(min(self.scales) >= size, "scales", f"lengths of at least data.image_size, which is {size}")
