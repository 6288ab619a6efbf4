"""The preprocessing of pictures for a net: their size, channels and normalisation. It is stored with the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from resnet_jax.data import Normalization, decode
from resnet_jax.data.crops import Pass
from resnet_jax.data.dataset import Images
from resnet_jax.errors import UserError
from resnet_jax.weights.arrays import Array, Arrays

Interpolation = Literal["bilinear", "bicubic"]

MEAN, STD = "mean", "std"
FIELDS = ("resize", "interpolation", "height", "width", "channels")
# Names of mean and standard deviation in a file of weights, if they are images.
ARRAYS = {name: f"preprocessing/{name}" for name in (MEAN, STD)}
# Mean and standard deviation of ImageNet's training set, for pixels in [0, 1]; most published nets use them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of a picture for a net: resize, centre crop, and (pixels / 255 - mean) / std.

    Raises:
      UserError: a size or the number of channels is below 1.
      UserError: `resize` is not None, and the final image is not a square or is larger than `resize`.
      UserError: the interpolation is unknown.
      UserError: the mean or the standard deviation has a shape that does not fit the final image.
      UserError: a standard deviation is not above 0.
    """

    resize: int | None
    """Pixels of the shorter side after the resize, before the crop. None: pictures must already have the final size."""
    height: int
    """Height of the final image in pixels."""
    width: int
    channels: int
    normalization: Normalization
    interpolation: Interpolation = "bilinear"
    """Interpolation of the resize, with antialiasing; most nets of timm and Hugging Face use "bicubic"."""

    def __post_init__(self) -> None:
        for name in ("height", "width", "channels") + ("resize",) * (self.resize is not None):
            value = getattr(self, name)
            _require(type(value) is int and value >= 1, name, repr(value), "a whole number above 0")
        fits = self.resize is None or self.height == self.width <= self.resize
        square = f"None, or a whole number of at least {self.height}"
        legal = square if self.height == self.width else "None, because height and width differ"
        _require(fits, "resize", str(self.resize), legal)
        known = self.interpolation in ("bilinear", "bicubic")
        _require(known, "interpolation", repr(self.interpolation), "'bilinear', 'bicubic'")
        for name in (MEAN, STD):
            there, here = getattr(self.normalization, name).shape, (1, *self.shape)
            fits = len(there) == 4 and all(a in (1, b) for a, b in zip(there, here, strict=True))
            _require(fits, name, f"the shape {there}", f"one that fits images of {self.shape}")
        lowest = self.normalization.std.min()
        _require(lowest > 0.0, STD, str(lowest), "numbers above 0")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a final image: height, width, channels."""
        return self.height, self.width, self.channels

    def read(self, path: str) -> Images:
        """Reads, resizes and crops an image file: [height, width, channels] uint8, not normalised.

        Raises:
          decode.Unreadable: the file cannot be read. The message gives the reason.
        """
        if self.channels not in (1, 3):
            raise decode.Unreadable(
                f"this net takes images of {self.channels} channels, and pictures are read with 1 or 3"
            )
        pass_ = None if self.resize is None else Pass(self.resize, self.height, interpolation=self.interpolation)
        image: Images = decode.views(path, pass_, channels=self.channels)[0]
        if image.shape != self.shape:
            raise decode.Unreadable(
                f"it is {image.shape[1]}x{image.shape[0]} pixels, and this net takes only {self.width}x{self.height}"
            )
        return image

    def to_json(self) -> dict[str, Any]:
        """The values for config.json. Mean and standard deviation are left out if the method `arrays` returns them."""
        values: dict[str, Any] = {name: getattr(self, name) for name in FIELDS}
        if not self.arrays():
            for name in (MEAN, STD):
                values[name] = (
                    np.broadcast_to(getattr(self.normalization, name), (1, 1, 1, self.channels)).ravel().tolist()
                )
        return values

    def arrays(self) -> Arrays:
        """Mean and standard deviation for model.safetensors if they are images, with a value for each pixel.

        Otherwise {}, because config.json has them.
        """
        n = self.normalization
        if n.mean.shape[1:3] == n.std.shape[1:3] == (1, 1):
            return {}
        return {ARRAYS[MEAN]: n.mean, ARRAYS[STD]: n.std}


def from_json(values: Mapping[str, Any], arrays: Mapping[str, Array]) -> Preprocessing:
    """Makes a Preprocessing from the results of `to_json` and `arrays`.

    Raises:
      UserError: a field is missing or unknown, or has an illegal value.
    """
    values = {"interpolation": "bilinear", **values}  # missing in files of earlier versions
    found = []
    for name in (MEAN, STD):
        value = values.pop(name, None)
        if value is None and ARRAYS[name] not in arrays:
            raise UserError(f"preprocessing.{name}: missing; legal: a number for each channel.")
        found.append(arrays[ARRAYS[name]] if value is None else _numbers(name, value))
    if values.keys() != set(FIELDS):
        wrong = sorted(values.keys() ^ set(FIELDS))[0]
        raise UserError(f"preprocessing.{wrong}: {'missing' if wrong in FIELDS else 'no such field'}.")
    return Preprocessing(**values, normalization=Normalization(*found))


def per_channel(
    resize: int,
    crop: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    interpolation: Interpolation = "bilinear",
) -> Preprocessing:
    """A preprocessing with one mean and one standard deviation for each channel, for pixels in [0, 1].

    The shorter side is resized to `resize` pixels, and the centre is cropped to a square of `crop` pixels.
    """
    normalization = Normalization(_numbers(MEAN, mean), _numbers(STD, std))
    channels = normalization.mean.shape[-1]
    return Preprocessing(resize, crop, crop, channels, normalization, interpolation)


def _numbers(name: str, value: Any) -> Array:
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        numbers = np.full((), np.nan)
    finite = numbers.ndim == 1 and bool(np.isfinite(numbers).all())
    _require(finite, name, repr(value), "a finite number for each channel")
    return numbers.reshape(1, 1, 1, -1)


def _require(condition: bool, name: str, got: str, legal: str) -> None:
    if not condition:
        raise UserError(f"preprocessing.{name}: got {got}; legal: {legal}.")
