"""The orders of convolution, BN and ReLU in a residual unit: He et al. 2016, Fig. 4. Nothing here imports JAX.

Every convolution conv{i} has one BN, norm{i}. An order says where BNs and ReLUs are. A new order is an entry here and a
name in ModelConfig.activation_order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Step = Literal["norm", "relu"]


@dataclass(frozen=True)
class Order:
    """The positions of BNs and ReLUs in a unit. Those of the stem and the end of the net follow: see
    `models/resnet.py`."""

    before: tuple[Step, ...] = ()
    """Layers before each convolution; orders that have any are pre-activations."""
    after: tuple[Step, ...] = ()
    """Layers after each convolution but the last."""
    last: tuple[Step, ...] = ()
    """Layers after the last convolution, before the addition."""
    joined: tuple[Step, ...] = ()
    """Layers after the addition: f in 2016, Eq. 1."""

    @property
    def norm_first(self) -> bool:
        """Whether a unit begins with a BN; then the stem has none, and the end of the net has one."""
        return "norm" in self.before

    def last_norm(self, convs: int) -> int:
        """The number of the last BN before the addition, in a unit of `convs` convolutions; zero_gamma applies to
        it."""
        return convs if "norm" in self.before + self.last else convs - 1


ORDERS: Mapping[str, Order] = {
    # Fig. 4a; He et al. 2015, Fig. 2
    "original": Order(after=("norm", "relu"), last=("norm",), joined=("relu",)),
    # Fig. 4b
    "bn_after_addition": Order(after=("norm", "relu"), joined=("norm", "relu")),
    # Fig. 4c
    "relu_before_addition": Order(after=("norm", "relu"), last=("norm", "relu")),
    # Fig. 4d
    "relu_only_preactivation": Order(before=("relu",), after=("norm",), last=("norm",)),
    # Fig. 4e
    "full_preactivation": Order(before=("norm", "relu")),
}
