"""Shortcuts: the ways to add a block's input x to its residual F. Each has a function and a name in this module.

Sources: He et al. 2015, Sec. 3.3 and 4.1 (options A, B, C), and 2016, Sec. 3.1, Fig. 2 and Table 1. Layers after the
addition belong to the order of activations (orders.py).

| name             | h(x) + F(x)          | source                                                                   |
|------------------|----------------------|--------------------------------------------------------------------------|
| `none`           | F                    | the plain net; 2016, Table 1: constant scaling by 0                      |
| `A`              | x + F                | 2015: identity, with zeros for the additional channels                   |
| `B`              | x + F                | 2015: identity, a projection (1x1 conv, BN) where the shape changes      |
| `C`              | W x + F              | 2015: a projection everywhere; 2016, Fig. 2e: "1x1 conv (known as C)"    |
| `identity`       | x + F                | 2016, Fig. 2a                                                            |
| `scale`          | lambda x + F         | 2016, Eq. 6, Fig. 2b; with `residual_scale`, lambda x + s F              |
| `exclusive_gate` | (1 - g) x + g F      | 2016, Fig. 2c; g = sigmoid(W_g x + b_g), a 1x1 convolution               |
| `shortcut_gate`  | (1 - g) x + F        | 2016, Fig. 2d                                                            |
| `dropout`        | m x + F              | 2016, Fig. 2f; m is 0 or 1 for each number                               |

In blocks that change the shape, F cannot be added to x itself. There, the shortcuts of 2016 first convert x to the
shape of F. Nets of basic blocks add zeros, as in option A (the ResNet-110 of 2015 has "option A"). Nets of bottleneck
blocks use a projection, as in option B (2016, Appendix: "we use projection shortcuts for increasing dimensions"). The
gates of these blocks have the block's stride.

The names in `SHORTCUTS` are the legal values of `model.shortcut`. The configuration imports this module, so it imports
neither JAX nor other modules of this package.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Array = Any  # a jax.Array
Config = Any  # a ModelConfig


class Paths(Protocol):
    """The two paths of a block, from which a shortcut computes the output.

    A call of `skip` creates the layers of the shortcut, and a call of `gate` creates the layers of the gate.
    """

    @property
    def config(self) -> Config:
        """The configuration of the net."""

    @property
    def residual(self) -> Array:
        """The residual F(x), [N, H', W', C'], after SkipInit, the residual scale and stochastic depth."""

    def skip(self) -> Array:
        """The input x, converted by option A or a projection to the residual's shape [N, H', W', C'] if needed."""

    def gate(self) -> Array:
        """The gate g(x) = sigmoid(W_g x + b_g), in the shape of the residual, [N, H', W', C']."""

    def dropout(self, x: Array) -> Array:
        """Applies dropout to x in training; returns the expectation in eval mode."""


@dataclass(frozen=True)
class Shortcut:
    """A kind of shortcut: how it joins the two paths of a block, and which layers it needs."""

    join: Callable[[Paths], Array]
    """Computes the sum of shortcut and residual."""
    projects: Literal["never", "where the shape changes", "always", "as in the paper"] = "as in the paper"
    """Which blocks have a projection; "as in the paper" (2016): bottleneck blocks that change the shape."""
    gated: bool = False
    """Whether a block has a gate."""


def _plain(paths: Paths) -> Array:
    return paths.residual


def _sum(paths: Paths) -> Array:
    return paths.skip() + paths.residual


def _scale(paths: Paths) -> Array:
    return paths.config.shortcut_scale * paths.skip() + paths.residual


def _exclusive_gate(paths: Paths) -> Array:
    g = paths.gate()
    return (1.0 - g) * paths.skip() + g * paths.residual


def _shortcut_gate(paths: Paths) -> Array:
    return (1.0 - paths.gate()) * paths.skip() + paths.residual


def _dropout(paths: Paths) -> Array:
    return paths.dropout(paths.skip()) + paths.residual


SHORTCUTS: Mapping[str, Shortcut] = {
    "none": Shortcut(_plain, "never"),
    "A": Shortcut(_sum, "never"),
    "B": Shortcut(_sum, "where the shape changes"),
    "C": Shortcut(_sum, "always"),
    "identity": Shortcut(_sum),
    "scale": Shortcut(_scale),
    "exclusive_gate": Shortcut(_exclusive_gate, gated=True),
    "shortcut_gate": Shortcut(_shortcut_gate, gated=True),
    "dropout": Shortcut(_dropout),
}


def projects(shortcut: str, block_kind: str, *, shape_changes: bool) -> bool:
    """Whether a block with this shortcut has a projection (a 1x1 convolution).

    Args:
      shortcut: a name in `SHORTCUTS`.
      block_kind: "basic" or "bottleneck".
      shape_changes: whether the block's output has another shape than its input.
    """
    return {
        "never": False,
        "where the shape changes": shape_changes,
        "always": True,
        "as in the paper": shape_changes and block_kind == "bottleneck",
    }[SHORTCUTS[shortcut].projects]
