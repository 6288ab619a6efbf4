"""The orders of convolution, BN and ReLU in a residual unit (He et al. 2016, Fig. 4). This module does not import JAX.

Each convolution conv{i} of a unit has one BN, norm{i}. An order says where the BNs and ReLUs are. For a new order, add
an entry to ORDERS and its name to ModelConfig.activation_order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Step = Literal["norm", "relu"]


@dataclass(frozen=True)
class Order:
    """The positions of BNs and ReLUs in a residual unit."""

    before: tuple[Step, ...] = ()
    """Layers before each convolution; not empty for pre-activation orders."""
    after: tuple[Step, ...] = ()
    """Layers after each convolution except the last."""
    last: tuple[Step, ...] = ()
    """Layers after the last convolution, before the addition."""
    joined: tuple[Step, ...] = ()
    """Layers after the addition: the function f in 2016, Eq. 1."""

    @property
    def norm_first(self) -> bool:
        """Whether a unit begins with a BN. If so, the stem of CIFAR nets has no BN, and a BN follows the last block."""
        return "norm" in self.before

    def last_norm(self, convs: int) -> int:
        """The number i of norm{i}, the last BN before the addition, in a unit with `convs` convolutions."""
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
