"""torchvision's resnet18 to resnet152: github.com/pytorch/vision, torchvision/models/resnet.py."""

from __future__ import annotations

from resnet_jax.config import IMAGENET_BASIC_DEPTHS, IMAGENET_STAGES, ModelConfig
from resnet_jax.weights.formats.base import Format, Found, Told, staged_module


class Torchvision(Format):
    """Four stages, a 7x7 stem, projections where the shape changes.

    The stride of a bottleneck is taken to be on its 3x3 conv ("v1.5"); Caffe's nets have it on the first 1x1.
    """

    name = "torchvision"

    def net(self, found: Found) -> Told | None:
        if not found.has_stages() or len(found.stages) != 4:
            return None
        kinds = {depth: "basic" if depth in IMAGENET_BASIC_DEPTHS else "bottleneck" for depth in IMAGENET_STAGES}
        depths = (d for d, stages in IMAGENET_STAGES.items() if stages == found.stages and kinds[d] == found.block)
        model = found.model(depth=next(depths, None), head="fc", usual_width=64, family="imagenet", shortcut="B")
        return Told(model, found.axes("conv1.weight", 4)[1])

    def writes(self, model: ModelConfig) -> bool:
        return model.family == "imagenet"

    def module(self, name: str) -> str:
        return staged_module(name, head="fc", shortcut="downsample")


FORMAT = Torchvision()
