"""Options and measurement of the instrument "layer-responses"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from resnet_jax.analysis.options import Options, Workspace

if TYPE_CHECKING:
    from resnet_jax.analysis.net import Net


@dataclass(frozen=True)
class LayerResponses(Options):
    """The strength of each 3x3 layer's response: the standard deviation of its output over images, pixels and channels,
    in eval mode. The output is taken after BN, before the nonlinearity and the addition. If no BN follows a convolution
    directly, as after the last convolution of a pre-activation block, the output of the convolution is taken.

    Source: He et al. 2015, Sec. 4.2, Fig. 7. Cost: seconds for each net.
    """

    split: Literal["train", "test"] = "test"
    """The split of the images."""


OPTIONS = LayerResponses


def measure(net: Net, options: LayerResponses, workspace: Workspace) -> dict[str, Any]:
    """Returns the names of the layers, their standard deviations, and the number of images, for a JSON file."""
    from resnet_jax.analysis.layer_responses import layer_responses

    images = net.examples(options.split, options.images, options.seed).images
    with workspace.progress(1, net.name) as advance:
        stds = layer_responses(net.model, net.variables, images)
        advance()
    return {"layers": list(stds), "std": list(stds.values()), "images": len(images)}
