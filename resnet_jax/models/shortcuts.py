"""What joins a block's input to its output: each shortcut is one function of (input, residual) and one name here.

He et al. 2015, Sec. 3.3 and 4.1: `none` is the plain net; A keeps the identity and adds zero channels where they
grow; B projects (1x1 conv, BN) where the shape changes; C projects everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

Array = jax.Array
Project = Callable[[Array], Array]
ShortcutPadding = Literal["end", "both"]


def projects(shortcut: str, *, shape_changes: bool) -> bool:
    """Whether a block of this shortcut has a projection, given whether it changes the shape of its input."""
    return shortcut == "C" or (shortcut == "B" and shape_changes)


def strided_identity(x: Array, *, stride: int, features: int, padding: ShortcutPadding) -> Array:
    """Option A: every `stride`-th pixel, and zero channels up to `features`; no parameters.

    Args:
      x: [N, H, W, C].
      stride: 1 keeps all pixels.
      features: channels of the result, at least C.
      padding: "end" puts all zero channels after the signal, "both" half of them (rounded down) before it.

    Returns:
      [N, ceil(H / stride), ceil(W / stride), features]
    """
    new = features - x.shape[-1]
    assert new >= 0, "option A cannot remove channels"
    before = new // 2 if padding == "both" else 0
    strided = x[:, ::stride, ::stride, :]
    return jnp.pad(strided, ((0, 0), (0, 0), (0, 0), (before, new - before)))


def join(
    shortcut: str, x: Array, residual: Array, *, stride: int, padding: ShortcutPadding, project: Project | None
) -> Array:
    """The block's sum: the residual alone (plain), or shortcut + residual.

    Args:
      shortcut: a name of ModelConfig.shortcut.
      x: the block's input, [N, H, W, C].
      residual: F(x), [N, H', W', C'].
      stride: of the block.
      padding: of option A's zero channels.
      project: 1x1 conv and BN, for a block that `projects`; otherwise None.

    Returns:
      [N, H', W', C']
    """
    if shortcut == "none":
        return residual
    if project is not None:
        return project(x) + residual
    return strided_identity(x, stride=stride, features=residual.shape[-1], padding=padding) + residual
