"""The loss landscape around a trained net (Li et al. 2018, Sec. 4): random directions, and the loss along them.

Departs from the paper: by default, BN uses the statistics of each batch at each point, as in training, so the loss is
the one that SGD minimises. The authors' code uses the running statistics of the trained net at all points; here the
option batch_stats="running" does so. These statistics do not fit the changed weights at other points. The misfit grows
from layer to layer, and in deep nets it hides the curvature of the loss.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array

from resnet_jax.analysis.modules import eval_mode, train_mode
from resnet_jax.models.resnet import ResNet
from resnet_jax.training.losses import cross_entropy
from resnet_jax.types import Floats, Tree


def filter_normalised(direction: Tree, params: Tree) -> Tree:
    """Scales each filter of a direction to the norm of the same filter in `params`.

    The direction's BN scales and biases become zero.

    A filter has the weights for one output: [K, K, C] of a conv's kernel [K, K, C, F], [C] of the last layer's kernel
    [C, F].

    Args:
      direction: tree with the structure of `params`.
      params: parameters of the net.
    """

    def of_leaf(d: npt.NDArray[Any], w: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if w.ndim < 2:
            return np.zeros_like(w)
        axes = tuple(range(w.ndim - 1))
        norms = [np.sqrt(np.square(x, dtype=np.float64).sum(axis=axes, keepdims=True)) for x in (w, d)]
        return np.asarray(d * (norms[0] / norms[1]), w.dtype)

    return jax.tree.map(of_leaf, direction, params)


def random_directions(params: Tree, number: int, seed: int) -> list[Tree]:
    """Draws random directions from a normal distribution, and scales them with `filter_normalised`.

    Nets with parameters of equal shapes get equal random numbers.
    """
    rng = np.random.default_rng(seed)

    def draw() -> Tree:
        return jax.tree.map(lambda w: rng.standard_normal(w.shape), params)

    return [filter_normalised(draw(), params) for _ in range(number)]


class PointValues(NamedTuple):
    """Mean cross-entropy in nats, and fraction of misclassified images, at each point: [points] each."""

    loss: Floats
    error: Floats


class Landscape:
    """Computes the loss around a net, at many points in one call of a compiled function."""

    def __init__(
        self,
        model: ResNet,
        variables: Any,
        directions: Sequence[Tree],
        images: npt.NDArray[Any],
        labels: npt.NDArray[np.int32],
        batch_size: int,
        recomputed: bool,
    ) -> None:
        """
        Args:
          model: net with `stages="unrolled"`.
          variables: variables of the model.
          directions: trees with the structure of the parameters.
          images: [N, H, W, C], normalised.
          labels: [N] int32.
          batch_size: number of images in a batch. The images of an incomplete last batch are not used.
          recomputed: True: BN uses the statistics of each batch. False: BN uses the running statistics.
        """
        size = min(batch_size, len(labels))
        self.images = len(labels) // size * size
        """Number of images that are used."""
        batched = (
            jnp.asarray(images[: self.images]).reshape(-1, size, *images.shape[1:]),
            jnp.asarray(labels[: self.images]).reshape(-1, size),
        )

        def at_point(variables: Any, directions: Sequence[Tree], point: Array, batched: Any) -> tuple[Array, Array]:
            params = variables["params"]  # moved to params + sum_i point[i] directions[i]; point: [D]
            for i, direction in enumerate(directions):
                params = jax.tree.map(lambda w, d, i=i: w + point[i].astype(w.dtype) * d, params, direction)
            moved = {**variables, "params": params}

            def of_batch(batch: tuple[Array, Array]) -> tuple[Array, Array]:
                x, y = batch
                logits = train_mode(model, moved, x)[0] if recomputed else eval_mode(model, moved, x)
                return cross_entropy(logits, y).sum(), (jax.lax.argmax(logits, 1, y.dtype) != y).sum()

            losses, wrong = jax.lax.map(of_batch, batched)
            return losses.sum(), wrong.sum()

        @jax.jit
        def at_points(variables: Any, directions: Sequence[Tree], points: Array, batched: Any) -> tuple[Array, Array]:
            found: tuple[Array, Array] = jax.lax.map(lambda p: at_point(variables, directions, p, batched), points)
            return found

        self._call, self._fixed, self._batched = at_points, (variables, list(directions)), batched

    def at(self, points: Floats) -> PointValues:
        """Computes the loss and the error at points [P, D], given by their coordinates along the D directions."""
        loss, wrong = jax.device_get(self._call(*self._fixed, points, self._batched))
        return PointValues(np.asarray(loss, np.float64) / self.images, np.asarray(wrong, np.float64) / self.images)
