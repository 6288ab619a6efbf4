"""The data of a run: source, splits, normalisation, augmentation, evaluation crops."""

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
"""Legal values of `data.source`: the names of the modules of data/sources, which are imported only when used."""
if TYPE_CHECKING:
    SourceName: TypeAlias = str
else:
    SourceName = Literal[SOURCES]

STREAMED = ("folder", "tfds")
"""Sources that can decode images when they are needed, instead of keeping all of them in memory."""
_STREAM = Condition(lambda data: data.streamed, "data.stream=True")
_SCALE = Condition(lambda data: data.streamed and data.crop == "scale", "data.crop='scale'")
_AREA = Condition(lambda data: data.streamed and data.crop == "area", "data.crop='area'")
_PAD = Condition(lambda data: not data.streamed or data.crop == "center", "data.crop='center'")
_SCALES = Condition(lambda data: data.streamed and data.protocol == "multi_scale", "data.protocol='multi_scale'")
_FILES = Condition(lambda data: data.source == "folder" or data.streamed, "data.source='folder' or data.stream=True")


@dataclass(frozen=True)
class DataConfig(Section):
    """The data of a run: source, splits, normalisation, augmentation, evaluation crops."""

    _section: typing.ClassVar[str] = "data"

    source: SourceName = field("digits", DATA, open_in_papers=True)  # noqa: RUF009  # as every other field
    """"digits": scikit-learn's 1,797 handwritten digits, 8x8 pixels, without a download; "tfds": `name` from
    TensorFlow Datasets; "folder": images in <path>/{train,test}/<class>/; "npz": NumPy arrays in one file."""
    name: str | None = field(None, DATA, needs=only_with("data.source", "tfds"), open_in_papers=True)
    """For "tfds": the name of the data set, such as cifar10."""
    path: str | None = field(
        None,
        Role("place", compared="never", open_in_papers=True, is_path=True, bound_to="data.source"),
        needs=Condition(lambda data: data.source != "digits", "another data.source than 'digits'"),
    )
    """Path of the images. For "tfds": the data directory of TensorFlow Datasets; None: its usual directory."""
    stream: bool = field(False, DATA, needs=only_with("data.source", *STREAMED), open_in_papers=True)
    """For "folder" and "tfds": decode images when they are needed, instead of keeping all of them in memory."""
    classes: tuple[str, ...] = field((), DATA, needs=_FILES)
    """Names of the classes to use; or one number n: the first n classes in alphabetical order. (): all classes."""
    image_size: int | None = field(None, DATA, needs=_FILES)
    """Height and width, in pixels, of the net's input. Images in memory are resized so that the shorter side has this
    length, and the centre is cut out; None: they are used as they are, and must have equal sizes. The paper: 224 for
    ImageNet."""
    bad_images: Literal["stop", "skip"] = field(
        "stop", DATA, needs=only_with("data.source", "folder"), open_in_papers=True
    )
    """For "folder": what to do with an image that cannot be read. "stop": stop with a message that names it; "skip":
    leave it out and count it. With `stream`, "skip" applies while the headers of all files are read; an image that
    fails later stops the run."""
    channels: int | Literal["auto"] = field("auto", DATA, needs=_FILES)
    """Number of channels of the images. 1: grey; 3: colour; "auto": 1 if every training and test image is grey,
    otherwise 3."""
    workers: int | Literal["auto"] = field("auto", OPERATIONAL, needs=_STREAM)
    """Number of threads that decode images; "auto": one for each core."""
    statistics_images: int = field(10_000, DATA, needs=_STREAM, open_in_papers=True)
    """Number of training images, evenly spaced in the training set, from which mean, standard deviation and colour
    components are computed."""
    train_subset: int | None = field(None, DATA, words="training images")
    """Number of training images to use, drawn at random (`split_seed`) with the class proportions of the whole set;
    None: all."""
    validation: int = field(0, DATA)
    """Number of training images held out for validation, drawn at random (`split_seed`) with the class proportions of
    the whole set; 0: none. With validation, the test set is evaluated only once, after the last step. The paper's
    45k/5k split: 5000."""
    split_seed: int = field(
        0,
        DATA,
        needs=Condition(
            lambda data: data.train_subset is not None or data.validation > 0, "data.train_subset or data.validation"
        ),
        open_in_papers=True,
    )
    """Random seed that selects the images of `train_subset` and `validation`. It does not depend on the run's `seed`,
    so runs with different seeds use the same images."""
    placement: Literal["auto", "device", "host"] = field("auto", OPERATIONAL)
    """Keep all images on the device, or send each batch from the host; "auto": on the device if they fit."""
    normalize: Literal["pixel_mean", "channel_mean_std", "weights"] = field("pixel_mean", DATA)
    """"pixel_mean": subtract the mean image of the training set (the paper); "channel_mean_std": standardise each
    channel; "weights": normalise as in the training of the net in `finetune.weights`, which is needed if its stages are
    frozen."""
    pad: int = field(0, DATA, words="padding before the crop", needs=_PAD)
    """Zero padding on each side, in pixels, before a random crop of the original size (the paper: 4); 0: no crop."""
    flip: bool = field(False, DATA, words="random mirror")
    """Mirror each training image left to right with probability 1/2. The paper: on for CIFAR. Wrong for digits."""
    mixup: float = field(0.0, DATA)
    """Mix each training image and its label with those of another image of the batch. The weight is drawn from
    Beta(mixup, mixup) (H. Zhang et al. 2018, arXiv 1710.09412: 1 for CIFAR, 0.2 for ImageNet). Departs from the paper.
    0: off."""
    cutmix: float = field(0.0, DATA)
    """Paste a box of another training image into each image, and mix the labels by area. The share of the area is drawn
    from Beta(cutmix, cutmix) (Yun et al. 2019, arXiv 1905.04899, with 1); 0: off. If `mixup` is on too, each image gets
    one of the two, with equal probability. Departs from the paper."""

    crop: Literal["center", "scale", "area"] = field("center", DATA, needs=_STREAM)
    """Training crops of `image_size` x `image_size` pixels. "center": the centre, as in evaluation. "scale": the
    shorter side is resized to a random length from `scales`, and a random square is cut out (He et al. 2015, Sec. 3.4).
    "area": a random rectangle, with a share of the area from `areas` and a width / height from `aspects`, is resized to
    the square (fb.resnet.torch)."""
    scales: tuple[int, ...] = field((256, 480), DATA, needs=_SCALE)
    """Smallest and largest length of the shorter side, in pixels. The paper: 256 and 480."""
    areas: tuple[float, ...] = field((0.08, 1.0), DATA, needs=_AREA)
    """Smallest and largest share of the image's area."""
    aspects: tuple[float, ...] = field((0.75, 4 / 3), DATA, needs=_AREA)
    """Smallest and largest width / height of the rectangle."""
    color_noise: float = field(0.0, DATA)
    """Random multiples of the principal components of colour are added to each training image. This is the standard
    deviation of the multiples (Krizhevsky et al. 2012, Sec. 4.1: 0.1); 0: off. Images with three channels only."""
    jitter: float = field(0.0, DATA)
    """Change brightness, contrast and saturation of each training image in random order, each by a factor drawn from
    1 - jitter to 1 + jitter (fb.resnet.torch: 0.4); 0: off. Images with three channels only."""
    eval_resize: int = field(256, DATA, needs=_STREAM)
    """Length in pixels to which the shorter side is resized in evaluation, before the crop. The paper: 256."""
    protocol: Literal["center", "ten_crop", "multi_scale"] = field("center", DATA, needs=_STREAM)
    """Parts of each test image that the evaluation after the last step uses; other evaluations use the centre crop.
    "ten_crop": the centre, the corners and their mirror images (Tables 2 and 3). "multi_scale": the whole image and its
    mirror image at each of `eval_scales` (Table 4). Probabilities are averaged over the parts."""
    eval_scales: tuple[int, ...] = field((224, 256, 384, 480, 640), DATA, needs=_SCALES)
    """Lengths of the shorter side, in pixels. The default is the paper's."""
    eval_multiple: int = field(32, DATA, needs=_SCALES)
    """The longer side is rounded to a multiple of this many pixels, so that few shapes are compiled; 1: not rounded."""

    @property
    def streamed(self) -> bool:
        """Whether images are decoded when they are needed: `stream` is on, and the source supports it."""
        return self.stream and self.source in STREAMED

    @property
    def by_protocol(self) -> bool:
        """Whether the evaluation after the last step uses several crops or sizes of each test image (`protocol`)."""
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
        """Whether training images are mixed with each other (`mixup` or `cutmix`)."""
        return self.mixup > 0.0 or self.cutmix > 0.0

    def _check_stream(self) -> None:
        size = self.image_size
        if size is None:
            raise UserError("data.image_size: got None; legal: a number of pixels, because data.stream=True needs one.")
        self._require(self.placement != "device", "placement", "'auto' or 'host', because of data.stream=True")
        self._require(self.eval_resize >= size, "eval_resize", f"at least data.image_size, which is {size}")
        if self.crop == "scale":
            self._require(min(self.scales) >= size, "scales", f"lengths of at least data.image_size, which is {size}")
