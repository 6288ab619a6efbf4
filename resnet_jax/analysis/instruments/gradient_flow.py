"""Options and measurement of the instrument "gradient-flow"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from resnet_jax.analysis.options import Options, Workspace
from resnet_jax.record import GRADIENTS_FILE, read_gradients

if TYPE_CHECKING:
    from resnet_jax.analysis.net import Net


@dataclass(frozen=True)
class GradientFlow(Options):
    """The norm of the loss's gradient with respect to each kernel. At the initial values, it is measured on one batch,
    in train mode. During training, it is read from the run, if train.gradient-norms-every was set.

    Source: He et al. 2015, Sec. 4.1 ("backward propagated gradients exhibit healthy norms with BN"). The instrument
    accepts runs, and configurations such as digits-plain:model.depth=110. Cost: compilation, and seconds for each net.
    """

    looks_at: ClassVar[Literal["trained", "initial", "either"]] = "initial"

    images: int = 128
    """Number of images in the batch, drawn from the training set by `seed`."""


OPTIONS = GradientFlow


def measure(net: Net, options: GradientFlow, workspace: Workspace) -> dict[str, Any]:
    """Returns layer names, norms at the initial values, and recorded norms [steps][layers], for a JSON file."""
    from resnet_jax.analysis.gradient_flow import gradient_norms

    examples = net.examples("train", options.images, options.seed)
    with workspace.progress(1, net.name) as advance:
        norms = gradient_norms(net.model, net.variables, examples.images, examples.labels)
        advance()
    found: dict[str, Any] = {"layers": list(norms), "initial": list(norms.values()), "steps": [], "training": []}
    file = net.directory / GRADIENTS_FILE if net.directory is not None else None
    if file is not None and file.exists():
        lines = read_gradients(file)
        found["steps"] = [line.step for line in lines]
        found["training"] = [[line.norms[layer] for layer in norms] for line in lines]
    return found
