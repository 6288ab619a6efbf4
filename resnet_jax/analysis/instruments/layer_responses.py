"""Options of the instrument layer-responses, and its entrance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from resnet_jax.analysis.options import Options, Workspace

if TYPE_CHECKING:
    from resnet_jax.analysis.net import Net


@dataclass(frozen=True)
class LayerResponses(Options):
    """The strength of each 3x3 layer's response: the standard deviation of its output after BN, before nonlinearity and
    addition, over images, pixels and channels, in eval mode. In the order of layers, and sorted by magnitude.

    Source: He et al. 2015, Sec. 4.2, Fig. 7. If no BN follows a convolution directly (the last one with
      pre-activation), the response is the output of the convolution.
    Cost: seconds for each net.
    """

    split: Literal["train", "test"] = "test"
    """The split of the images."""


OPTIONS = LayerResponses


def measure(net: Net, options: LayerResponses, workspace: Workspace) -> dict[str, Any]:
    """Layers by name with their standard deviations, for JSON."""
    from resnet_jax.analysis.layer_responses import layer_responses

    images = net.examples(options.split, options.images, options.seed).images
    with workspace.progress(1, net.name) as advance:
        stds = layer_responses(net.model, net.variables, images)
        advance()
    return {"layers": list(stds), "std": list(stds.values()), "images": len(images)}
