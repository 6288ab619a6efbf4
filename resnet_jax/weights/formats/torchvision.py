"""torchvision's resnet18 to resnet152: github.com/pytorch/vision, torchvision/models/resnet.py."""

from typing import Literal

from resnet_jax.weights.formats.base import STAGED_FIRST, Format, Found, NetFacts, staged_block, staged_module


class Torchvision(Format):
    """Nets with four stages, a 7x7 stem, and projections where the shape changes.

    The stride of a bottleneck is assumed to be on its 3x3 convolution ("v1.5"), unless the user says that it is on the
    first 1x1 convolution, as in the paper.
    """

    name = "torchvision"
    holds = "'imagenet', ResNet-18 to 152"
    first = STAGED_FIRST
    family: Literal["cifar", "imagenet"] | None = "imagenet"

    def claims(self, found: Found) -> bool:
        return STAGED_FIRST in found.shapes and len(found.stages) == 4

    def net(self, found: Found) -> NetFacts:
        model = found.imagenet_model(found.stages, staged_block(found), stem="conv1", head="fc")
        return NetFacts(model, found.axes("conv1.weight", 4)[1])

    def module(self, name: str) -> str:
        return staged_module(name, head="fc", shortcut="downsample")


FORMAT = Torchvision()
