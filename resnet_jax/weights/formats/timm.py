"""timm's resnet18 to resnet152: github.com/huggingface/pytorch-image-models, timm/models/resnet.py.

The names are torchvision's. What timm adds stands in config.json beside the weights, as the hub's client downloads
them: architecture, sizes, interpolation, normalisation and names of classes. The size of pictures is `input_size`, as
in timm.data.resolve_model_data_config, not `test_input_size`.

| timm's nets                                       | here                                                            |
|---------------------------------------------------|-----------------------------------------------------------------|
| resnet18, 34, 50, 101, 152, with any tag          | read and written                                                |
| tv_, ssl_, swsl_, gluon_..._v1b of these          | the same                                                        |
| resnet26, resnet14t, resnet200                    | no: no net of the paper has these stages                        |
| c, d, s, t; resnetrs (deep stem, pooled shortcut) | no: told by their arrays                                        |
| seresnet, ecaresnet, skresnet, cbam (attention)   | no: told by their arrays                                        |
| resnext, wide_resnet (groups, inner widths)       | no: told by their shapes                                        |
| resnet50_gn, resnetv2 (other norms)               | no: told by their arrays                                        |
| resnetaa, resnetblur (anti-aliasing)              | no: told by config.json alone, since their arrays are resnet50's |
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from resnet_jax.errors import UserError
from resnet_jax.weights.formats.base import STAGED_FIRST, Found, Told
from resnet_jax.weights.formats.torchvision import Torchvision
from resnet_jax.weights.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, per_channel

ARCHITECTURE = re.compile(r"((tv_|ssl_|swsl_)?resnet(18|34|50|101|152)|gluon_resnet(18|34|50|101|152)_v1b)")
CROP_PCT = 0.875  # timm's default


class Timm(Torchvision):
    """torchvision's names; claimed where config.json is timm's, or where the arrays are a variant's."""

    name = "timm"
    family = None

    def claims(self, found: Found) -> bool:
        config = found.config or {}
        return ("architecture" in config and "pretrained_cfg" in config) or self._variant(found) is not None

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
        architecture = str(found.config["architecture"]).partition(".")[0]
        if not ARCHITECTURE.fullmatch(architecture):
            raise UserError(
                f"{found.file}: config.json says architecture {architecture!r}; legal: timm's resnet18, 34, 50, 101, "
                f"152. Other nets may have the same arrays and other values, such as resnetblur50."
            )
        given = found.config.get("pretrained_cfg")
        if not isinstance(given, Mapping):
            raise UserError(f"{found.file}: config.json has no table pretrained_cfg.")
        names = found.config.get("label_names") or given.get("label_names")
        return Told(told.model, told.channels, tuple(map(str, names)) if names else None, _preprocessing(given, found))

    def _variant(self, found: Found) -> str | None:
        """What a net has that the paper's have not; None: nothing that names and shapes tell."""
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


def _preprocessing(given: Mapping[str, Any], found: Found) -> Preprocessing:
    """What timm's evaluation does to pictures (timm/data/transforms_factory.py, transforms_imagenet_eval)."""
    where = f"{found.file}: config.json, pretrained_cfg"
    try:
        channels, height, width = (int(size) for size in given.get("input_size", (3, 224, 224)))
        crop_pct = float(given.get("crop_pct", CROP_PCT))
        mode = str(given.get("interpolation", "bilinear"))
        if height != width or given.get("crop_mode", "center") != "center" or mode not in ("bilinear", "bicubic"):
            raise UserError(
                f"{where}: pictures of {height}x{width}, crop_mode {given.get('crop_mode')!r}, interpolation {mode!r}; "
                f"legal: squares, 'center', 'bilinear' or 'bicubic'."
            )
        if not 0.0 < crop_pct <= 1.0:
            raise UserError(f"{where}.crop_pct: got {crop_pct}; legal: above 0, at most 1.")
        mean, std = given.get("mean", IMAGENET_MEAN), given.get("std", IMAGENET_STD)
        found_here = per_channel(math.floor(height / crop_pct), height, mean, std, mode)  # type: ignore[arg-type]
        if found_here.channels != channels:
            raise UserError(f"{where}.mean: got {mean!r}; legal: {channels} numbers, one for each channel.")
        return found_here
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{where}: not as timm writes it ({error}).") from None


FORMAT = Timm()
