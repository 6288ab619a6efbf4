"""Options and measurement of the instrument "path-lengths"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from resnet_jax.analysis.options import Options, Workspace

if TYPE_CHECKING:
    from jax import Array

    from resnet_jax.analysis.net import Net


@dataclass(frozen=True)
class PathLengths(Options):
    """The lengths of the paths through a residual net, and the norm of the gradient along paths of each length. The
    gradient is taken at the first block's input, for random paths of each length and for all paths together.

    Source: Veit et al. 2016 (arXiv 1605.06431), Sec. 5, Fig. 6. The net needs a shortcut on every block and the
    original order of activations. Cost: a backward pass for each path, about a minute for ResNet-56 with 10 paths of
    each length.
    """

    images: int = 64
    """Number of images, drawn by `seed`."""
    split: Literal["train", "test"] = "train"
    """The split of the images."""
    repeats: int = 10
    """Number of random paths of each length."""


OPTIONS = PathLengths


def measure(net: Net, options: PathLengths, workspace: Workspace) -> dict[str, Any]:
    """Returns the number of paths of each length, and two kinds of gradient norms, for a JSON file.

    "norms" [lengths][repeats]: each number is the norm of the gradient along one random path. "whole": the norm of the
    whole gradient, which is the sum over all paths. All norms are means over images.
    """
    import jax

    from resnet_jax.analysis.path_lengths import check, path_gradient, paths_of_length

    check(net.config.model)
    examples = net.examples(options.split, options.images, options.seed)
    blocks = len(net.config.model.blocks)
    rng = np.random.default_rng(options.seed)

    @jax.jit
    def of_path(variables: Any, through: Array) -> Array:
        return path_gradient(net.model, variables, examples.images, examples.labels, through)

    def norm(gradient: Array) -> float:
        # In float64: the square of a long path's gradient is below the smallest number of float32.
        square: Any = np.square(np.asarray(gradient, np.float64)).sum((1, 2, 3))
        return float(np.sqrt(square).mean())

    whole = path_gradient(net.model, net.variables, examples.images, examples.labels, None)
    norms: list[list[float]] = []
    with workspace.progress((blocks + 1) * options.repeats, net.name) as advance:
        for length in range(blocks + 1):
            norms.append([])
            for _ in range(options.repeats):
                through = np.zeros(blocks, np.float32)
                through[rng.choice(blocks, length, replace=False)] = 1.0
                norms[-1].append(norm(of_path(net.variables, through)))
                advance()
    return {
        "paths": paths_of_length(blocks),
        "norms": norms,
        "whole": norm(whole),
        "images": len(examples.labels),
    }
