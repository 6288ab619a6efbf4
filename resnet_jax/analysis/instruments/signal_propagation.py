"""Options and measurement of the instrument "signal-propagation"."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from resnet_jax.analysis.options import Options, Workspace

if TYPE_CHECKING:
    from resnet_jax.analysis.net import Net


@dataclass(frozen=True)
class SignalPropagation(Options):
    """Signals after each block, at the initial values: the variance of the block's output; the largest and the smallest
    singular value of the Jacobian of the output with respect to the image; the autocorrelation of the output's
    derivative along a line between two images. BN uses the statistics of one batch, held fixed. All
    computations are in float64.

    The singular values come from Golub and Kahan's bidiagonalisation with full reorthogonalisation. Each step needs a
    jvp and a vjp of the net. With as many steps as an image has values, all singular values are exact. With fewer
    steps, the largest converges first, and the smallest is an upper bound.

    Source: for the autocorrelation, Balduzzi et al. 2017 (arXiv 1702.08591), Sec. 2; for the singular values, Saxe et
    al. 2014 (arXiv 1312.6120), Sec. 3. The instrument accepts runs, and configurations such as
    digits-plain:model.depth=110. Cost: a minute or two for a net of 56 layers.
    """

    looks_at: ClassVar[Literal["trained", "initial", "either"]] = "initial"
    double: ClassVar[bool] = True

    images: int = 128
    """Number of images in the batch, drawn from the training set by `seed`."""
    jacobians: int = 2
    """Number of images at which the Jacobians are computed."""
    steps: int = 64
    """Largest number of steps of the bidiagonalisation. Digits have 64 pixels, so 64 steps are exact."""
    lines: int = 4
    """Number of lines for the autocorrelation, each between two images."""
    points: int = 256
    """Number of points on each line."""
    lags: int = 16
    """Largest lag of the autocorrelation, in points."""

    def _check(self) -> None:
        super()._check()
        self._require(self.lags < self.points, "lags", f"a whole number below points={self.points}")
        self._require(self.jacobians <= self.images, "jacobians", f"at most images={self.images}")
        self._require(2 * self.lines <= self.images, "lines", f"at most half of images={self.images}")


OPTIONS = SignalPropagation


def measure(net: Net, options: SignalPropagation, workspace: Workspace) -> dict[str, Any]:
    """Returns the forward variance, extreme singular values and autocorrelation after each block, for a JSON file.

    The variance is [blocks], each singular value [images][blocks], and the autocorrelation [blocks][lags + 1]. The stem
    counts as the first block.
    """
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
