"""Signal propagation at initialisation, by depth: forward variance, Jacobians, and autocorrelation of derivatives.

BN uses the statistics of one batch of training images, held fixed, so that the net is a function of one image. Departs
from the paper: Balduzzi et al. 2017 use nets from R to R and points on a grid. Here the points lie on a line between
two images.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from resnet_jax.analysis.modules import block_outputs
from resnet_jax.analysis.singular_values import singular_values
from resnet_jax.models.resnet import ResNet
from resnet_jax.types import Floats

# A derivative that varies by less than this share of its mean square is constant up to rounding.
CONSTANT = 1e-20


class Outputs(NamedTuple):
    """The names and sizes of the block outputs, in order. The first output, "stem", is the first block's input."""

    names: list[str]
    sizes: list[int]
    """Number of values in each output, for one image."""


def outputs(model: ResNet, variables: Any, images: Any) -> Outputs:
    """The names and sizes of the arrays that `activations` returns, without computing these arrays."""
    names: list[str] = []

    def trace(variables: Any, images: Array) -> list[Array]:
        found = block_outputs(model, variables, images, train=False)
        names.extend(found)
        return list(found.values())

    shapes = jax.eval_shape(trace, variables, images)
    return Outputs(names, [int(np.prod(shape.shape[1:])) for shape in shapes])


def activations(model: ResNet, variables: Any, images: Array) -> list[Array]:
    """The flattened outputs of the stem and of each block, in eval mode: images [N, H, W, C] -> [N, size] each."""
    found = block_outputs(model, variables, images, train=False)
    return [y.reshape(len(images), -1) for y in found.values()]


def forward_variance(model: ResNet, variables: Any, images: Array) -> Floats:
    """The variance of the stem's and each block's output over images, pixels and channels: [blocks + 1]."""
    found = jax.jit(lambda v, x: [jnp.var(y) for y in activations(model, v, x)])(variables, images)
    return np.asarray(jax.device_get(found))


class Jacobians:
    """The Jacobians of all block outputs with respect to one image, available only as products with vectors.

    One batched jvp or vjp of the whole net gives the products for all blocks.
    """

    def __init__(self, model: ResNet, variables: Any, image_shape: tuple[int, ...]) -> None:
        """
        Args:
          model: net with `stages="unrolled"`.
          variables: variables of the model; the batch statistics in them stay fixed.
          image_shape: [H, W, C].
        """
        one = jnp.zeros((1, *image_shape), jnp.dtype(model.config.dtype))
        self.names, self.sizes = outputs(model, variables, one)
        self.inputs = int(np.prod(image_shape))

        def of_image(variables: Any, image: Array) -> list[Array]:
            return [y[0] for y in activations(model, variables, image.reshape(1, *image_shape))]

        # For each block l, its Jacobian times vector l: [L, inputs] -> L arrays [outputs of block l].
        @jax.jit
        def forward(variables: Any, image: Array, vectors: Array) -> list[Array]:
            push: Any = jax.vmap(lambda v: jax.jvp(lambda x: of_image(variables, x), (image,), (v,))[1])
            return [tangents[i] for i, tangents in enumerate(push(vectors))]

        # For each block l, its transposed Jacobian times vector l: [L, inputs].
        @jax.jit
        def backward(variables: Any, image: Array, vectors: list[Array]) -> Array:
            pull: Any = jax.vjp(lambda x: of_image(variables, x), image)[1]
            alone = [jnp.zeros((len(vectors), v.size), v.dtype).at[i].set(v) for i, v in enumerate(vectors)]
            (products,) = jax.vmap(pull)(alone)
            found: Array = products
            return found

        self._variables, self._forward, self._backward = variables, forward, backward

    def singular_values(self, image: Array, steps: int, seed: int, each_step: Any = lambda: None) -> list[Floats]:
        """The singular values of each Jacobian at an image [H, W, C], in descending order; see singular_values.py."""
        flat = image.ravel()
        return singular_values(
            lambda vectors: jax.device_get(self._forward(self._variables, flat, vectors.astype(flat.dtype))),
            lambda vectors: np.asarray(
                self._backward(self._variables, flat, [v.astype(flat.dtype) for v in vectors]), np.float64
            ),
            self.inputs,
            self.sizes,
            steps,
            seed,
            each_step,
        )


def autocorrelation(model: ResNet, variables: Any, starts: Array, ends: Array, points: int, lags: int) -> Floats:
    """The autocorrelation of derivatives along lines between images: [blocks + 1, lags + 1], 1 at lag 0.

    A line is x(t) = start + t (end - start), t = 0 .. 1. Along a line, each element of a block's output is a function
    from R to R, like the nets of Balduzzi et al. 2017, Sec. 2. It has a derivative d(t) at each point of the line. With
    m, the mean of d over the line, the autocorrelation at lag k is

        sum_t (d(t) - m)(d(t + k) - m) / sum_t (d(t) - m)^2.

    The numerator and the denominator are summed over all elements of the output and over all lines. White noise has
    an autocorrelation of 0 at every lag above 0. The result is NaN if the derivatives are constant, as after a stem of
    one convolution.

    Args:
      model, variables: as for `Jacobians`.
      starts, ends: [lines, H, W, C].
      points: number of points on each line.
      lags: largest lag, in points.
    """

    @jax.jit
    def sums(variables: Any, start: Array, end: Array) -> list[Array]:
        t = jnp.linspace(0, 1, points, dtype=start.dtype).reshape(-1, 1, 1, 1)
        along = jnp.broadcast_to((end - start)[None], (points, *start.shape))
        line = start[None] + t * along
        _, derivatives = jax.jvp(lambda x: activations(model, variables, x), (line,), (along,))
        return [jnp.append(lagged_products(d, lags), jnp.vdot(d, d)) for d in derivatives]

    lines = [jax.device_get(sums(variables, a, b)) for a, b in zip(starts, ends, strict=True)]
    total = np.asarray(lines, np.float64).sum(axis=0)  # [blocks + 1, lags + 2]
    products, squares = total[:, :-1], total[:, -1:]
    changes = products[:, :1] > CONSTANT * squares
    by_lag: Floats = np.where(changes, products / np.where(changes, products[:, :1], 1.0), np.nan)
    return by_lag


def lagged_products(d: Array, lags: int) -> Array:
    """Computes sum_t <d(t) - m, d(t + k) - m> for each lag k = 0 .. lags: d [points, size] -> [lags + 1].

    d(t) is the derivative at point t, and m is the mean of d over all points.
    """
    apart = d - d.mean(axis=0, keepdims=True)
    return jnp.stack([jnp.vdot(apart[: len(d) - k], apart[k:]) for k in range(lags + 1)])
