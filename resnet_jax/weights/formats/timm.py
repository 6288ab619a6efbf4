"""timm's resnet18 to resnet152: github.com/huggingface/pytorch-image-models, timm/models/resnet.py.

The names are torchvision's. In the folder of the weights, config.json has the architecture, sizes, interpolation,
normalisation and class names. Its field `input_size` is the size of pictures, as in
timm.data.resolve_model_data_config.

| timm's nets                                              | supported                                           |
|----------------------------------------------------------|-----------------------------------------------------|
| resnet18, 34, 50, 101, 152, with any tag                 | yes                                                 |
| these names with the prefix tv_, ssl_ or swsl_           | yes                                                 |
| gluon_resnet18_v1b, and so on up to gluon_resnet152_v1b  | yes                                                 |
| resnet26, resnet14t, resnet200                           | no, refused because of their numbers of blocks      |
| suffix c, d, s, t; resnetrs (deep stem, pooled shortcut) | no, refused because of their arrays                 |
| seresnet, ecaresnet, skresnet, cbam (attention)          | no, refused because of their arrays                 |
| resnext, wide_resnet (groups, inner widths)              | no, refused because of their shapes                 |
| resnet50_gn, resnetv2 (other norms)                      | no, refused because of their arrays                 |
| resnetaa, resnetblur (anti-aliasing)                     | no, refused because of their name in config.json    |
"""

import math
import re

from resnet_jax.errors import UserError
from resnet_jax.weights.formats.base import STAGED_FIRST, Found, NetFacts
from resnet_jax.weights.formats.torchvision import Torchvision
from resnet_jax.weights.hub import LARGEST, Fields
from resnet_jax.weights.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, per_channel

ARCHITECTURE = re.compile(r"(tv_|ssl_|swsl_|(?P<gluon>gluon_))?resnet(?P<depth>18|34|50|101|152)(?(gluon)_v1b)")
CROP_PCT = 0.875  # timm's default


class Timm(Torchvision):
    """Nets of timm, with torchvision's names.

    They are recognised by timm's config.json, or by arrays that only timm's nets have.
    """

    name = "timm"
    family = None

    def claims(self, found: Found) -> bool:
        return (found.config is not None and "pretrained_cfg" in found.config) or self._variant(found) is not None

    def net(self, found: Found) -> NetFacts:
        variant = self._variant(found)
        if variant is not None:
            raise UserError(
                f"{found.file}: a net with {variant}, which no net of the paper has; legal: timm's resnet18, 34, 50, "
                f"101, 152."
            )
        facts = super().net(found)
        if found.config is None:
            return facts
        fields = Fields(found.config, f"{found.beside('config.json')}: ")
        architecture = fields.get("architecture")
        match = ARCHITECTURE.fullmatch(architecture.partition(".")[0]) if isinstance(architecture, str) else None
        if match is None:
            fields.refuse(
                "architecture",
                "timm's resnet18, 34, 50, 101, 152; other nets with the same arrays, such as resnetblur50, would give "
                "wrong results",
            )
        if int(match["depth"]) != facts.model.depth:
            fields.refuse("architecture", f"a ResNet-{facts.model.depth}, as the arrays in {found.file} are")
        classes = facts.model.num_classes
        given = fields.table("pretrained_cfg")
        names = None
        if classes is not None:
            fields.require("num_classes", classes, f"as the arrays in {found.file} have")
            names = fields.names("label_names", classes) or given.names("label_names", classes)
        return NetFacts(facts.model, facts.channels, names, _preprocessing(given, facts.channels, found.file))

    def _variant(self, found: Found) -> str | None:
        """A phrase for a part of the net that the paper's nets do not have, such as "a deep stem"; None if none."""
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
