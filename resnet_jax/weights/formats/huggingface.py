"""transformers' ResNetForImageClassification and ResNetModel: transformers/models/resnet/modeling_resnet.py.

ResNetModel has no last layer, and no "resnet." before its names. config.json beside the weights says where a
bottleneck's stride is and what the classes are called; preprocessor_config.json says how pictures are prepared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from resnet_jax.errors import UserError
from resnet_jax.weights.formats.base import Format, Found, Told
from resnet_jax.weights.preprocessing import Interpolation, Preprocessing, per_channel

BASE = "resnet."
FIRST = "encoder.stages.0.layers.0.layer.0.convolution.weight"
STEM, HEAD = "embedder.embedder.convolution", "classifier.1"
RESAMPLE: Mapping[Any, Interpolation] = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
SQUEEZED = 384
"""ConvNextImageProcessor, which these nets use, crops below this side and squeezes pictures from it on."""


class HuggingFace(Format):
    """Four stages; the last layer is "classifier.1", everything else begins with "resnet."."""

    name = "huggingface"
    first = f"{BASE}{FIRST}"

    def claims(self, found: Found) -> bool:
        return self.first in found.shapes or FIRST in found.shapes

    def net(self, found: Found) -> Told:
        base = BASE if self.first in found.shapes else ""
        pattern = rf"{re.escape(base)}encoder\.stages\.(\d+)\.layers\.(\d+)\."
        third = f"{base}encoder.stages.0.layers.0.layer.2.convolution.weight"
        block: Literal["basic", "bottleneck"] = "bottleneck" if third in found.shapes else "basic"
        config = found.config or {}
        _require_paper(config, found.file)
        if found.unsaid.bottleneck_stride is None and config.get("downsample_in_bottleneck"):
            found = replace(found, unsaid=replace(found.unsaid, bottleneck_stride="1x1"))
        stages = found.blocks(pattern, first=0)
        model = found.imagenet_model(stages, block, stem=f"{base}{STEM}", head=HEAD)
        names = _class_names(config, found.file) if model.num_classes is not None else None
        preprocessing = _preprocessing(found.preprocessor, found.file) if found.preprocessor is not None else None
        return Told(model, found.axes(f"{base}{STEM}.weight", 4)[1], names, preprocessing)

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


def _require_paper(config: Mapping[str, Any], file: str) -> None:
    """Refuses settings of transformers' ResNetConfig that the nets of the paper do not have."""
    for name, legal in (("hidden_act", "relu"), ("downsample_in_first_stage", False)):
        if config.get(name, legal) != legal:
            raise UserError(f"{file}: config.json, {name}: got {config[name]!r}; legal: {legal!r}.")


def _class_names(config: Mapping[str, Any], file: str) -> tuple[str, ...] | None:
    table = config.get("id2label")
    if table is None:
        return None
    try:
        return tuple(str(table[str(number)]) for number in range(len(table)))
    except (TypeError, KeyError, AttributeError):
        raise UserError(f"{file}: config.json, id2label: legal: a name for each number from 0 on.") from None


def _preprocessing(given: Mapping[str, Any], file: str) -> Preprocessing:
    """What the image processors of these nets do: ConvNextImageProcessor, or a resize and a crop of the middle."""
    where = f"{file}: preprocessor_config.json"
    advice = "rename that file, and give experiments.convert --resize, --crop, --mean and --std"

    def get(name: str, default: Any) -> Any:
        return default if given.get(name) is None else given[name]

    try:
        size = get("size", 224)
        size = size if isinstance(size, Mapping) else {"shortest_edge": size}
        side = size.get("shortest_edge")
        crop = get("crop_size", None) if get("do_center_crop", False) else None
        crop = crop.get("height") if isinstance(crop, Mapping) and crop.get("height") == crop.get("width") else crop
        if crop is None and side is not None and int(side) < SQUEEZED:
            crop, side = int(side), int(int(side) / float(get("crop_pct", 224 / 256)))
        interpolation = RESAMPLE.get(get("resample", 3))
        scale = float(get("rescale_factor", 1 / 255))
        usual = get("do_resize", True) and get("do_rescale", True) and abs(scale * 255 - 1) < 1e-6
        if side is None or crop is None or interpolation is None or not usual:
            raise UserError(
                f"{where}: pictures are prepared in another way than here (shorter side resized, middle cropped, "
                f"pixels from 0 to 1); {advice}."
            )
        normalised = get("do_normalize", True)
        mean = get("image_mean", (0.5,) * 3) if normalised else (0.0,) * 3
        std = get("image_std", (0.5,) * 3) if normalised else (1.0,) * 3
        return per_channel(int(side), int(crop), mean, std, interpolation)
    except (TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{where}: not as transformers writes it ({error}); {advice}.") from None


FORMAT = HuggingFace()
