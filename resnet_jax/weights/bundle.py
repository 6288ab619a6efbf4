"""A net that was read from a file: configuration, arrays, preprocessing and class names."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import traverse_util

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import ResNet, build
from resnet_jax.types import Variables
from resnet_jax.weights.arrays import COUNT, STATISTICS, Arrays
from resnet_jax.weights.preprocessing import Preprocessing, per_channel


@dataclass(frozen=True)
class Origin:
    """The file or run that a net comes from."""

    file: str
    """Name of the file or run, without its folder."""
    digest: str
    """SHA-256 of the file, or of the run's parameters, cut to 16 hexadecimal digits."""


@dataclass(frozen=True)
class Weights:
    """A trained net: its configuration, arrays, preprocessing and class names.

    Raises:
      UserError: the number of class names differs from the number of classes, or a name cannot be printed.
    """

    model: ModelConfig
    """`num_classes` is None for a net without a last layer, such as transformers' ResNetModel."""
    arrays: Arrays
    """Arrays by this project's names (weights/arrays.py)."""
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    origin: Origin
    """The file or run that the net comes from originally. It does not change when the net is converted."""
    read_from: Origin | None = None
    """The file that this object was read from; None if it was not read from a file."""

    def __post_init__(self) -> None:
        classes = self.model.num_classes or 0
        if len(self.class_names) != classes:
            raise UserError(
                f"class_names: got {len(self.class_names)} names; legal: {classes}, one for each class of "
                f"{self.origin.file}."
            )
        for name in self.class_names:
            if not name.strip() or not name.isprintable():
                raise UserError(f"class_names: got {name!a}; legal: names that can be printed.")

    @property
    def has_head(self) -> bool:
        """Whether the net has its last layer."""
        return self.model.num_classes is not None

    @property
    def net(self) -> ResNet:
        """The Flax module. `net.apply(weights.variables(), images, train=False)` gives logits of normalised images.

        Raises:
          UserError: the net has no last layer.
        """
        return build(self.model)

    def variables(self) -> dict[str, Variables]:
        """The variables of the Flax module, {"params": ..., "batch_stats": ...}, in float32."""
        trees: dict[str, Arrays] = {"params": {}, "batch_stats": {}}
        for name, array in self.arrays.items():
            leaf = name.rpartition("/")[2]
            if leaf != COUNT:
                trees["batch_stats" if leaf in STATISTICS else "params"][name] = array.astype(np.float32)
        return {kind: traverse_util.unflatten_dict(tree, sep="/") for kind, tree in trees.items()}


def flatten(params: Variables, batch_stats: Variables) -> Arrays:
    """Converts trees of variables on the host to `Weights.arrays`."""
    flat = traverse_util.flatten_dict(params, sep="/") | traverse_util.flatten_dict(batch_stats, sep="/")
    return {name: np.ascontiguousarray(array) for name, array in flat.items()}


def usual_preprocessing(model: ModelConfig, channels: int) -> Preprocessing:
    """The usual preprocessing of published nets of this family, with ImageNet's mean and standard deviation.

    For ImageNet nets, the shorter side is resized to 256 pixels and the centre is cropped to 224 x 224 pixels, as in
    torchvision. For CIFAR nets, both sizes are 32 pixels. If the number of channels is not 3, all channels have the
    same mean and the same standard deviation: the averages of the three values for red, green and blue.
    """
    resize, crop = (256, 224) if model.family == "imagenet" else (32, 32)
    plain = per_channel(resize, crop)
    if channels == 3:
        return plain
    grey = (float(np.mean(statistic)) for statistic in (plain.normalization.mean, plain.normalization.std))
    mean, std = ((value,) * channels for value in grey)
    return per_channel(resize, crop, mean, std)


def describe(model: ModelConfig) -> str:
    """A phrase about a net, for messages, such as "resnet-20 (cifar, basic blocks, width 16, 10 classes)"."""
    return (
        f"{model.net}-{model.depth} ({model.family}, {model.block_kind} blocks, width {model.base_width}, "
        f"{'no last layer' if model.num_classes is None else f'{model.num_classes} classes'})"
    )


def essentials(model: ModelConfig) -> dict[str, Any]:
    """The values of the fields of ModelConfig that determine the outputs of a net in eval mode.

    Values such as "auto" are resolved, and fields without effect have their defaults.
    """
    names, idle = ModelConfig.fields_where(lambda role: role.of == "net"), model.without_effect()
    values = {name: model.default(name) if name in idle else model.value(name) for name in names}
    return values | {"width": model.base_width, "block": model.block_kind}


def unlike(one: ModelConfig, other: ModelConfig) -> dict[str, tuple[Any, Any]]:
    """The fields of `essentials` that differ between two nets, each with both values."""
    a, b = essentials(one), essentials(other)
    return {name: (a[name], b[name]) for name in sorted(a) if a[name] != b[name]}
