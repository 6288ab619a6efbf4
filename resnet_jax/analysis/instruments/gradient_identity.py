"""Options and measurement of the instrument "gradient-identity"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from resnet_jax.analysis.options import Options, Workspace

if TYPE_CHECKING:
    from resnet_jax.analysis.net import Net


@dataclass(frozen=True)
class GradientIdentity(Options):
    """The gradient at a block's input as a sum of two terms: dL/dx_l = dL/dx_L (1 + d/dx_l sum F). The shortcuts carry
    the first term from the end of the stage; the residual branches add the second. Both terms, and the
    remainder (dL/dx_l minus both terms), are measured for each block, in float64 and in train mode.

    Source: He et al. 2016, Eq. 5. The equation holds between blocks of the same shape, if their shortcuts are the
    identity and nothing follows the addition (full pre-activation). For other nets the remainder is not zero.
    Cost: compilation, and seconds for each net. The instrument accepts finished runs, and configurations such as
    digits-resnet:model.depth=110.
    """

    looks_at: ClassVar[Literal["trained", "initial", "either"]] = "either"
    double: ClassVar[bool] = True

    images: int = 128
    """Number of images in the batch, drawn from the training set by `seed`."""


OPTIONS = GradientIdentity


def measure(net: Net, options: GradientIdentity, workspace: Workspace) -> dict[str, Any]:
    """Returns measurements of each block, for a JSON file.

    They are the norms of the gradient, of its two terms and of the remainder, and the cosine of the angle between the
    terms.
    """
    import jax.numpy as jnp

    from resnet_jax.analysis.gradient_identity import identity_terms

    examples = net.examples("train", options.images, options.seed)
    with workspace.progress(1, net.name) as advance:
        terms = identity_terms(net.model, net.variables, examples.images, examples.labels)
        advance()
    found: dict[str, Any] = {"blocks": list(terms)}
    found |= {name: [] for name in ("gradient", "carried", "residual", "left", "cosine")}
    for t in terms.values():
        norms = {name: float(jnp.linalg.norm(value.ravel())) for name, value in t._asdict().items()}
        for name, norm in norms.items():
            found[name].append(norm)
        found["left"].append(float(jnp.linalg.norm((t.gradient - t.carried - t.residual).ravel())))
        lengths = norms["carried"] * norms["residual"]  # 0 if residual branches start from zero
        found["cosine"].append(float(jnp.vdot(t.carried, t.residual)) / lengths if lengths else math.nan)
    return found
