"""Options of the instrument signal-propagation, and its entrance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from resnet_jax.analysis.options import Options, Workspace

if TYPE_CHECKING:
    from resnet_jax.analysis.net import Net


@dataclass(frozen=True)
class SignalPropagation(Options):
    """Signals at the initial values after each block: the forward variance, the largest and the
    smallest singular value of the Jacobian of a block's output with respect to the image, and the autocorrelation of
    the derivative along a line between two images. BN's statistics are those of a batch, held fixed. In float64.

    Singular values are Golub and Kahan's, with full reorthogonalisation, by a jvp and a vjp of the net in each step.
    With as many steps as an image has numbers, all are exact. With fewer, the largest converges first, and the smallest
    is an upper bound. Source: Balduzzi et al. 2017 (arXiv 1702.08591), Sec. 2, for the autocorrelation; Saxe et al.
    2014 (arXiv 1312.6120), Sec. 3, for singular values. It also takes configurations, such as
    digits-plain:model.depth=110. Cost: a minute or two for a net of 56 layers.
    """

    looks_at: ClassVar[Literal["trained", "initial", "either"]] = "initial"
    double: ClassVar[bool] = True

    images: int = 128
    """Images of the batch, drawn from the training set by `seed`."""
    jacobians: int = 2
    """Number of images with Jacobians."""
    steps: int = 64
    """Largest number of steps of the bidiagonalisation; digits have 64 pixels."""
    lines: int = 4
    """Number of pairs of images, between which derivatives are taken."""
    points: int = 256
    """Points on each line."""
    lags: int = 16
    """Lags of the autocorrelation, in points."""

    def _check(self) -> None:
        super()._check()
        self._require(self.lags < self.points, "lags", f"a whole number below points={self.points}")
        self._require(self.jacobians <= self.images, "jacobians", f"at most images={self.images}")
        self._require(2 * self.lines <= self.images, "lines", f"at most half of images={self.images}")


OPTIONS = SignalPropagation


def measure(net: Net, options: SignalPropagation, workspace: Workspace) -> dict[str, Any]:
    """By block: forward variance, extreme singular values at each image [images][blocks], autocorrelation; for JSON."""
    import jax

    from resnet_jax.analysis.modules import with_statistics_of
    from resnet_jax.analysis.signal_propagation import (
        Jacobians,
        autocorrelation,
        forward_variance,
    )

    images = net.examples("train", options.images, options.seed).images
    variables = jax.jit(partial(with_statistics_of, net.model))(net.variables, images)
    jacobians = Jacobians(net.model, variables, images.shape[1:])
    looked_at = images[: options.jacobians]
    steps = min(options.steps, jacobians.inputs, *jacobians.sizes)
    with workspace.progress(steps * len(looked_at), net.name) as advance:
        spectra = [jacobians.singular_values(image, steps, options.seed, advance) for image in looked_at]
    half = min(options.lines, len(images) // 2)
    starts, ends = images[:half], images[half : 2 * half]
    return {
        "blocks": jacobians.names,
        "variance": forward_variance(net.model, variables, images).tolist(),
        "largest": [[float(values[0]) for values in of_image] for of_image in spectra],
        "smallest": [[float(values[-1]) for values in of_image] for of_image in spectra],
        "exact": steps == jacobians.inputs,
        "autocorrelation": autocorrelation(net.model, variables, starts, ends, options.points, options.lags).tolist(),
    }
