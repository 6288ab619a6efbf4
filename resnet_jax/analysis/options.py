"""The instruments and their options, for command lines and for `measure`. Nothing here imports JAX.

An instrument's name in INSTRUMENTS is that of its module, with hyphens; its options' docstring says what it measures,
where it is from, and what it costs. Costs are for digits nets on one CPU core.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Literal

from resnet_jax.config import Section


@dataclass(frozen=True)
class Options(Section):
    """What all instruments have."""

    looks_at: typing.ClassVar[Literal["trained", "initial", "either"]] = "trained"
    """Finished nets, initial values (so that a configuration will do), or what it is given: the one or the other."""
    double: typing.ClassVar[bool] = False
    """Whether it computes in float64."""

    images: int = 512
    """Images to look at, drawn by `seed`; all of the split, where it has no more."""
    seed: int = 0
    """Of every random choice that the instrument makes."""

    def _check(self) -> None:
        for name in self._counts():
            self._require(getattr(self, name) >= 1, name, "a whole number above 0")
        self._require(0 <= self.seed < 2**32, "seed", "a whole number from 0 to 2**32 - 1")

    def _counts(self) -> tuple[str, ...]:
        return ("images",)


@dataclass(frozen=True)
class LayerResponses(Options):
    """How strongly each 3x3 layer responds: the standard deviation of its output after BN, before nonlinearity and
    addition, over images, pixels and channels, in eval mode. In the order of layers, and sorted by magnitude.

    Source: He et al. 2015, Sec. 4.2, Fig. 7. Where no BN takes a conv's output by itself (pre-activation's last conv),
    the response is the conv's output. Cost: seconds a net.
    """

    split: Literal["train", "test"] = "test"
    """Which images."""


@dataclass(frozen=True)
class GradientFlow(Options):
    """How large the gradient is in each layer: the norm of the loss's gradient with respect to each kernel, at
    the initial values, on one batch in train mode; and along training, for runs with train.gradient-norms-every.

    Source: He et al. 2015, Sec. 4.1 ("backward propagated gradients exhibit healthy norms with BN"). At the initial
    values it also takes configurations, such as digits-plain:model.depth=110. Cost: seconds a net, compilation.
    """

    looks_at: typing.ClassVar[Literal["trained", "initial", "either"]] = "initial"

    images: int = 128
    """Images of the batch, drawn from the training set by `seed`."""


@dataclass(frozen=True)
class GradientIdentity(Options):
    """What reaches a block's input: dL/dx_l = dL/dx_L (1 + d/dx_l sum F), the gradient at the end of the stage, carried
    by the shortcuts as it is, and what the residual functions between add; each measured by itself, block by
    block, with what the two leave of dL/dx_l. In float64, train mode.

    Source: He et al. 2016, Eq. 5. It holds between blocks of one shape with identity shortcuts and nothing after the
    addition (full pre-activation); of other nets it says how far it is from holding. It takes finished nets and, at
    their initial values, configurations such as digits-resnet:model.depth=110. Cost: seconds a net, compilation.
    """

    looks_at: typing.ClassVar[Literal["trained", "initial", "either"]] = "either"
    double: typing.ClassVar[bool] = True

    images: int = 128
    """Images of the batch, drawn from the training set by `seed`."""


@dataclass(frozen=True)
class SignalPropagation(Options):
    """What depth does to signals at the initial values, block by block: the forward variance, the largest and the
    smallest singular value of the Jacobian of a block's output with respect to the image, and the autocorrelation of
    the derivative along a line between two images. BN's statistics are those of a batch, held fixed. In float64.

    Singular values are Golub and Kahan's, with full reorthogonalisation, by a jvp and a vjp of the net a step. With as
    many steps as an image has numbers they are all exact, the smallest too; with fewer the largest converges first, and
    the smallest is an upper bound. Source: Balduzzi et al. 2017 (arXiv 1702.08591), Sec. 2, for the autocorrelation;
    Saxe et al. 2014 (arXiv 1312.6120), Sec. 3, for singular values. It also takes configurations, such as
    digits-plain:model.depth=110. Cost: a minute or two a net of 56 layers.
    """

    looks_at: typing.ClassVar[Literal["trained", "initial", "either"]] = "initial"
    double: typing.ClassVar[bool] = True

    images: int = 128
    """Images of the batch, drawn from the training set by `seed`."""
    jacobians: int = 2
    """Images, of those, whose Jacobians are taken."""
    steps: int = 64
    """Of the bidiagonalisation, at most: digits have 64 pixels."""
    lines: int = 4
    """Pairs of images, of those, between which derivatives are taken."""
    points: int = 256
    """On each line."""
    lags: int = 16
    """Of the autocorrelation, in points."""

    def _counts(self) -> tuple[str, ...]:
        return ("images", "jacobians", "steps", "lines", "points", "lags")

    def _check(self) -> None:
        super()._check()
        self._require(self.lags < self.points, "lags", f"a whole number below points={self.points}")
        self._require(self.jacobians <= self.images, "jacobians", f"at most images={self.images}")
        self._require(2 * self.lines <= self.images, "lines", f"at most half of images={self.images}")


@dataclass(frozen=True)
class Lesions(Options):
    """What a net loses with its blocks: its error with each block that keeps its input's shape deleted in turn,
    with k at random deleted, and with blocks swapped within their stages. A deleted block is the identity; the net is
    not trained again, and its batch statistics stay as they were.

    Source: Veit et al. 2016 (arXiv 1605.06431), Sec. 4. Cost: a pass over the images for each lesion, a minute
    or two for ResNet-32 on 360 digits.
    """

    split: Literal["train", "test"] = "test"
    """Which images."""
    repeats: int = 10
    """Random choices for each number of deleted blocks, and for each number of swaps."""

    def _counts(self) -> tuple[str, ...]:
        return ("images", "repeats")


@dataclass(frozen=True)
class LossLandscape(Options):
    """The loss around a trained net, along random directions that are normalised filter by filter: on a line or
    on a plane. Directions move kernels alone: a filter's part has the filter's norm, and BN scales and biases stay.

    Source: Li et al. 2018 (arXiv 1712.09913), Sec. 4. Cost: a pass over the images for each point; 25 x 25 points of
    ResNet-56 on 512 digits, about 5 minutes. Interrupted, the same command goes on from the last row.
    """

    split: Literal["train", "test"] = "train"
    """Which images."""
    dimensions: Literal[1, 2] = 2
    """A line or a plane."""
    points: int = 25
    """Along each direction, from -span to span; odd, so that the net itself is one."""
    span: float = 1.0
    """How far, in units of the direction: at 1 every filter has moved by its own norm."""
    batch_stats: Literal["running", "recomputed"] = "recomputed"
    """BN normalises at each point by the statistics of the images there ("recomputed": by batches as in training, the
    loss that SGD descends, in which the size of a filter before BN plays no part), or by the trained net's running
    statistics ("running": as Li et al.'s code has it; away from the net they are another net's)."""

    def _check(self) -> None:
        super()._check()
        self._require(self.points >= 3 and self.points % 2 == 1, "points", "an odd number of at least 3")
        self._require(self.span > 0.0, "span", "a number above 0")


@dataclass(frozen=True)
class PathLengths(Options):
    """How long the paths through a residual net are, and how much gradient paths of each length carry: the norm of the
    gradient at the first block's input, of random paths of each length, and of all paths of a length together.

    Source: Veit et al. 2016 (arXiv 1605.06431), Sec. 5, Fig. 6. Nets with a shortcut on every block, in the original
    order. Cost: a backward pass for each path; ResNet-56 with 10 paths of each length, about a minute.
    """

    images: int = 64
    """Images to look at, drawn by `seed`."""
    split: Literal["train", "test"] = "train"
    """Which images."""
    repeats: int = 10
    """Random paths of each length."""

    def _counts(self) -> tuple[str, ...]:
        return ("images", "repeats")


INSTRUMENTS: dict[str, type[Options]] = {
    "layer-responses": LayerResponses,
    "gradient-flow": GradientFlow,
    "gradient-identity": GradientIdentity,
    "signal-propagation": SignalPropagation,
    "lesions": Lesions,
    "loss-landscape": LossLandscape,
    "path-lengths": PathLengths,
}
