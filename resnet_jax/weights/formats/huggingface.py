"""transformers' ResNetForImageClassification and ResNetModel: transformers/models/resnet/modeling_resnet.py.

ResNetModel has no last layer, and its names have no prefix "resnet.". In the folder of the weights, config.json has the
position of a bottleneck's stride and the class names, and preprocessor_config.json has the preprocessing of pictures.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from resnet_jax.errors import UserError
from resnet_jax.weights.formats.base import BottleneckStride, Format, Found, NetFacts
from resnet_jax.weights.hub import LARGEST, Fields
from resnet_jax.weights.preprocessing import Interpolation, Preprocessing, per_channel

BASE = "resnet."
FIRST = "encoder.stages.0.layers.0.layer.0.convolution.weight"
STEM, HEAD = "embedder.embedder.convolution", "classifier.1"
RESAMPLE: Mapping[Any, Interpolation] = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
SQUEEZED = 384
"""transformers' ConvNextImageProcessor crops pictures to sizes below this one, in pixels. To larger sizes it resizes
them without a crop."""


class HuggingFace(Format):
    """Nets with four stages. The name of the last layer is "classifier.1"; all other names begin with "resnet."."""

    name = "huggingface"
    holds = "'imagenet', ResNet-18 to 152"
    first = f"{BASE}{FIRST}"

    def claims(self, found: Found) -> bool:
        return self.first in found.shapes or FIRST in found.shapes

    def net(self, found: Found) -> NetFacts:
        base = BASE if self.first in found.shapes else ""
        pattern = rf"{re.escape(base)}encoder\.stages\.(\d+)\.layers\.(\d+)\."
        third = f"{base}encoder.stages.0.layers.0.layer.2.convolution.weight"
        block: Literal["basic", "bottleneck"] = "bottleneck" if third in found.shapes else "basic"
        config = Fields(found.config or {}, f"{found.beside('config.json')}: ")
        for name, legal in (("hidden_act", "relu"), ("downsample_in_first_stage", False)):
            config.require(name, legal, "as the nets of the paper have it")
        on_1x1 = config.flag("downsample_in_bottleneck", default=False)
        asked = found.unsaid.bottleneck_stride
        if on_1x1 and block == "basic":
            config.refuse("downsample_in_bottleneck", f"false, because the net in {found.file} has basic blocks")
        if config.get("downsample_in_bottleneck") is not None and block == "bottleneck":
            stride: BottleneckStride = "1x1" if on_1x1 else "3x3"
            if asked not in (None, stride):
                config.refuse("downsample_in_bottleneck", f"{not on_1x1}, because bottleneck_stride={asked} was given")
            found = replace(found, unsaid=replace(found.unsaid, bottleneck_stride=stride))
        stages = found.blocks(pattern, first=0)
        model = found.imagenet_model(stages, block, stem=f"{base}{STEM}", head=HEAD)
        channels = found.axes(f"{base}{STEM}.weight", 4)[1]
        here = {
            "depths": list(stages),
            "layer_type": block,
            "embedding_size": model.base_width,
            "hidden_sizes": [width * model.expansion for width in model.stage_widths],
            "num_channels": channels,
        }
        for name, value in here.items():
            config.require(name, value, f"as the arrays in {found.file} have")
        names = config.names("id2label", model.num_classes) if model.num_classes is not None else None
        preprocessing = _preprocessing(found, channels) if found.preprocessor is not None else None
        return NetFacts(model, channels, names, preprocessing)

    def module(self, name: str) -> str:
        if name == "head":
            return HEAD
        if block := re.fullmatch(r"stage(\d+)_block(\d+)", name):
            return f"{BASE}encoder.stages.{int(block[1]) - 1}.layers.{int(block[2]) - 1}"
        if layer := re.fullmatch(r"(conv|norm)(\d)", name):
            return f"layer.{int(layer[2]) - 1}.{'convolution' if layer[1] == 'conv' else 'normalization'}"
        named = {"stem_conv": f"{BASE}{STEM}", "stem_norm": f"{BASE}embedder.embedder.normalization"}
        named |= {"shortcut_conv": "shortcut.convolution", "shortcut_norm": "shortcut.normalization"}
        return named.get(name, name)

    def names(self, ours: Iterable[str]) -> dict[str, str]:
        names = super().names(ours)
        if any(name.startswith("head/") for name in names):
            return names
        return {name: theirs.removeprefix(BASE) for name, theirs in names.items()}  # a ResNetModel

    def prefixes(self, names: Iterable[str]) -> set[str]:
        found = {name.removesuffix(FIRST) for name in names if name == FIRST or name.endswith(f".{FIRST}")}
        return {prefix.removesuffix(BASE) if f".{prefix}".endswith(f".{BASE}") else prefix for prefix in found}


def _preprocessing(found: Found, channels: int) -> Preprocessing:
    """The preprocessing that preprocessor_config.json describes.

    Two kinds of preprocessing are supported: a resize with a centre crop, and the preprocessing of transformers'
    ConvNextImageProcessor. The second kind is supported only if the final image is smaller than `SQUEEZED` pixels.

    Raises:
      UserError: the file describes another preprocessing, or a field has an illegal value.
    """
    where = found.beside("preprocessor_config.json")
    advice = "or rename that file, and give experiments.convert --resize, --crop, --mean and --std"
    given = Fields(found.preprocessor or {}, f"{where}: ", advice)
    if isinstance(given.get("size"), Mapping):
        side = given.table("size").whole("shortest_edge", None)
    else:
        side = given.whole("size", 224)
    crop = None
    if given.flag("do_center_crop", default=False):
        if isinstance(given.get("crop_size"), Mapping):
            size = given.table("crop_size")
            crop = size.whole("height", None)
            if crop != size.whole("width", None):
                given.refuse("crop_size", "a square")
        else:
            crop = given.whole("crop_size", None)
    if crop is None and side is not None and side < SQUEEZED:
        least = math.ceil(1e6 * side / LARGEST) / 1e6
        crop, side = side, int(side / given.number("crop_pct", 224 / 256, least=least, most=1.0))
    resample = given.get("resample")
    interpolation = RESAMPLE.get(3 if resample is None else resample) if type(resample) in (int, type(None)) else None
    scale = given.number("rescale_factor", 1 / 255, least=0.0, most=1.0)
    usual = given.flag("do_resize", default=True) and given.flag("do_rescale", default=True)
    usual = usual and abs(scale * 255 - 1) < 1e-6
    if side is None or crop is None or interpolation is None or not usual or crop > side:
        raise UserError(
            f"{where}: this preprocessing is not supported; legal: the shorter side is resized, the centre cropped, "
            f"and pixels are scaled to [0, 1]; {advice.removeprefix('or ')}."
        )
    mean: tuple[float, ...] = (0.0,) * channels
    std: tuple[float, ...] = (1.0,) * channels
    if given.flag("do_normalize", default=True):
        mean = given.numbers("image_mean", (0.5,) * channels, channels)
        std = given.numbers("image_std", (0.5,) * channels, channels, positive=True)
    return per_channel(side, crop, mean, std, interpolation)


FORMAT = HuggingFace()
