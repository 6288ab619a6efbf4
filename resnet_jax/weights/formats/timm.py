"""timm's resnet18 to resnet152: github.com/huggingface/pytorch-image-models, timm/models/resnet.py.

The names are torchvision's. config.json, beside the weights, has the architecture, sizes, interpolation, normalisation
and class names. The size of pictures is `input_size`, as in timm.data.resolve_model_data_config, not `test_input_size`.

| timm's nets                                       | here                                                            |
|---------------------------------------------------|-----------------------------------------------------------------|
| resnet18, 34, 50, 101, 152, with any tag          | read and written                                                |
| tv_, ssl_, swsl_, gluon_..._v1b of these          | the same                                                        |
| resnet26, resnet14t, resnet200                    | no: no net of the paper has these stages                        |
| c, d, s, t; resnetrs (deep stem, pooled shortcut) | no: recognised by their arrays                                  |
| seresnet, ecaresnet, skresnet, cbam (attention)   | no: recognised by their arrays                                  |
| resnext, wide_resnet (groups, inner widths)       | no: recognised by their shapes                                  |
| resnet50_gn, resnetv2 (other norms)               | no: recognised by their arrays                                  |
| resnetaa, resnetblur (anti-aliasing)              | no: recognised only by config.json: their arrays are resnet50's |
"""

from __future__ import annotations

import math
import re

from resnet_jax.errors import UserError
from resnet_jax.weights.formats.base import STAGED_FIRST, Found, Told
from resnet_jax.weights.formats.torchvision import Torchvision
from resnet_jax.weights.hub import LARGEST, Fields
from resnet_jax.weights.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, per_channel

ARCHITECTURE = re.compile(r"(tv_|ssl_|swsl_|(?P<gluon>gluon_))?resnet(?P<depth>18|34|50|101|152)(?(gluon)_v1b)")
CROP_PCT = 0.875  # timm's default


class Timm(Torchvision):
    """torchvision's names. Used if config.json is timm's, or if the arrays belong to a variant of timm."""

    name = "timm"
    family = None

    def claims(self, found: Found) -> bool:
        return (found.config is not None and "pretrained_cfg" in found.config) or self._variant(found) is not None

    def net(self, found: Found) -> Told:
        variant = self._variant(found)
        if variant is not None:
            raise UserError(
                f"{found.file}: a net with {variant}, which the nets of the paper do not have; legal: timm's resnet18, "
                f"34, 50, 101, 152."
            )
        told = super().net(found)
        if found.config is None:
            return told
        fields = Fields(found.config, f"{found.beside('config.json')}: ")
        architecture = fields.get("architecture")
        match = ARCHITECTURE.fullmatch(architecture.partition(".")[0]) if isinstance(architecture, str) else None
        if match is None:
            fields.refuse(
                "architecture",
                "timm's resnet18, 34, 50, 101, 152; other nets may have the same arrays and other values, such as "
                "resnetblur50",
            )
        if int(match["depth"]) != told.model.depth:
            fields.refuse("architecture", f"a ResNet-{told.model.depth}, which the arrays in {found.file} are of")
        classes = told.model.num_classes
        given = fields.table("pretrained_cfg")
        names = None
        if classes is not None:
            fields.require("num_classes", classes, f"as the arrays in {found.file} have")
            names = fields.names("label_names", classes) or given.names("label_names", classes)
        return Told(told.model, told.channels, names, _preprocessing(given, told.channels, found.file))

    def _variant(self, found: Found) -> str | None:
        """The part that distinguishes a variant from the paper's nets, by names and shapes; None: no such part."""
        names, shape = found.shapes.keys(), found.shapes.get
        attention = re.compile(r"layer1\.0\.(se|attn|attn_last|conv\d\.(attn|split|paths|conv))\.")
        if any(attention.match(name) for name in names):
            return "attention in its blocks"
        if STAGED_FIRST not in names:
            return None
        if "conv1.0.weight" in names:
            return "a deep stem"
        if any(re.search(r"\.downsample\.2\.", name) for name in names):
            return "average pooling in its shortcuts"
        if "bn1.weight" in names and "bn1.running_mean" not in names:
            return "another normalisation than batch norm"
        first, second = shape(STAGED_FIRST, ()), shape("layer1.0.conv2.weight", ())
        stem = shape("conv1.weight", ())
        if "layer1.0.conv3.weight" in names and len(first) == len(second) == len(stem) == 4:
            if second[1] != first[0]:
                return "grouped convolutions"
            if first[0] != stem[0]:
                return "other inner widths of its bottlenecks"
        return None


def _preprocessing(given: Fields, channels: int, file: str) -> Preprocessing:
    """The preprocessing of timm's evaluation (timm/data/transforms_factory.py, transforms_imagenet_eval)."""
    size = given.get("input_size")
    size = [channels, 224, 224] if size is None else size
    whole = isinstance(size, list) and len(size) == 3 and all(type(n) is int and 1 <= n <= LARGEST for n in size)
    if not whole or size[0] != channels or size[1] != size[2]:
        given.refuse(
            "input_size",
            f"channels, height and width of a square of at most {LARGEST} pixels, with the {channels} channels that "
            f"the arrays in {file} take",
        )
    side = size[1]
    given.text("crop_mode", "center", ("center",))
    interpolation = given.text("interpolation", "bilinear", ("bilinear", "bicubic"))
    crop_pct = given.number("crop_pct", CROP_PCT, least=math.ceil(1e6 * side / LARGEST) / 1e6, most=1.0)
    mean = given.numbers("mean", IMAGENET_MEAN, channels)
    std = given.numbers("std", IMAGENET_STD, channels, positive=True)
    return per_channel(math.floor(side / crop_pct), side, mean, std, interpolation)  # type: ignore[arg-type]


FORMAT = Timm()
