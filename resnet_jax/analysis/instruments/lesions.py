"""Options and measurement of the instrument "lesions"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from resnet_jax.analysis.options import Options, Workspace

if TYPE_CHECKING:
    from resnet_jax.analysis.net import Net


@dataclass(frozen=True)
class Lesions(Options):
    """The error of a net after lesions of three kinds: each block is deleted alone; k random blocks are deleted; k
    random pairs of blocks are swapped within their stages. A deleted block becomes the identity. Only blocks that keep
    the shape of their input are deleted or swapped. The net is not trained again, and its batch statistics do not
    change.

    Source: Veit et al. 2016 (arXiv 1605.06431), Sec. 4. Cost: a pass over the images for each lesion, a minute or two
    for ResNet-32 on 360 digits.
    """

    split: Literal["train", "test"] = "test"
    """The split of the images."""
    repeats: int = 10
    """Number of random choices for each number of deleted blocks, and for each number of swapped pairs."""


OPTIONS = Lesions


def measure(net: Net, options: Lesions, workspace: Workspace) -> dict[str, Any]:
    """Returns the error of the whole net, "single" [blocks], "deleted" and "swapped" [k][repeats], for a JSON file."""
    from resnet_jax.analysis.lesions import NONE, Patient, plan

    examples = net.examples(options.split, options.images, options.seed)
    patient = Patient(net.model, net.variables, examples.images, examples.labels)
    planned = plan(patient.blocks, patient.swappable, options.repeats, options.seed)
    lesions = [NONE, *(one for kind in planned.values() for several in kind for one in several)]
    errors = {}
    with workspace.progress(len(lesions), net.name) as advance:
        for lesion in lesions:
            errors[lesion] = patient.error(lesion)
            advance()
    found: dict[str, Any] = {"blocks": patient.blocks, "images": len(examples.labels), "whole": errors[NONE]}
    found |= {kind: [[errors[one] for one in several] for several in lists] for kind, lists in planned.items()}
    found["single"] = [error for (error,) in found["single"]]
    return found
