"""The orders of convolution, BN and ReLU in a residual unit: He et al. 2016, Fig. 4. Nothing here imports JAX.

Every convolution has one BN, and norm{i} is that of conv{i}; an order says where BNs and ReLUs stand. A new one is an
entry here and its name in ModelConfig.activation_order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Step = Literal["norm", "relu"]


@dataclass(frozen=True)
class Order:
    """What stands where. The net's stem and end follow: see `models/resnet.py`."""

    before: tuple[Step, ...] = ()
    """Before each convolution. An order that has this is a pre-activation."""
    after: tuple[Step, ...] = ()
    """After each convolution but the last."""
    last: tuple[Step, ...] = ()
    """After the last convolution, before the addition."""
    joined: tuple[Step, ...] = ()
    """After the addition: the paper's f (2016, Eq. 1)."""

    @property
    def norm_first(self) -> bool:
        """Whether a unit begins with a BN, so that the stem needs none, and the net's end has one more."""
        return "norm" in self.before

    def last_norm(self, convs: int) -> int:
        """The number of the last BN before the addition in a unit of so many convolutions: where zero-gamma acts."""
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
