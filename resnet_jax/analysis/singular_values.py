"""Singular values of linear maps that are available only through products with vectors.

The method is Golub and Kahan's bidiagonalisation (1965). From a random start vector, k steps give orthonormal V and U
with J V = U B, where B [k, k] is upper bidiagonal. The largest singular values of B approach those of J. Every vector
is orthogonalised twice against all earlier vectors, since rounding errors would otherwise give copies of singular
values. A vector that vanishes is replaced by a random one.

If k equals the dimension of the input space, V is a basis, and B has all singular values of J. With fewer steps, B's
largest singular value is at most J's largest, and B's smallest is at least J's smallest.
"""

from collections.abc import Callable, Sequence

import numpy as np

from resnet_jax.types import Floats

# A vector shorter than this fraction of the largest entry so far is only rounding error.
VANISHED = 1e-13


def singular_values(
    forward: Callable[[Floats], Sequence[Floats]],
    backward: Callable[[Sequence[Floats]], Floats],
    inputs: int,
    outputs: Sequence[int],
    steps: int,
    seed: int,
    each_step: Callable[[], None] = lambda: None,
) -> list[Floats]:
    """Approximates the singular values of several linear maps J_l from R^inputs to R^outputs[l], all at once.

    Args:
      forward: takes a vector v_l for each map, [maps, inputs], and returns the products J_l v_l, [outputs[l]] each.
      backward: takes a vector u_l for each map, [outputs[l]] each, and returns the products J_l^T u_l, [maps, inputs].
      inputs: dimension of the input space.
      outputs: dimension of each map's output space.
      steps: number of steps of the bidiagonalisation.
      seed: random seed for the start vectors, and for vectors that replace vanished ones.
      each_step: function that is called after each step.

    Returns:
      For each map, the approximate singular values in descending order, [min(steps, inputs, *outputs)].
    """
    rng = np.random.default_rng(seed)
    maps, k = len(outputs), min(steps, inputs, *outputs)
    right = [np.zeros((k, inputs)) for _ in outputs]
    left = [np.zeros((k, m)) for m in outputs]
    b = np.zeros((maps, k, k))
    coming = rng.standard_normal((maps, inputs))
    for l in range(maps):  # noqa: E741  # the papers' letter
        right[l][0] = coming[l] / np.linalg.norm(coming[l])
    for j in range(k):
        products = forward(np.stack([v[j] for v in right]))
        for l, product in enumerate(products):  # noqa: E741
            left[l][j], b[l, j, j] = _next(np.asarray(product), left[l][:j], b[l], rng)
        each_step()
        if j + 1 == k:
            break
        for l, product in enumerate(backward([u[j] for u in left])):  # noqa: E741
            right[l][j + 1], b[l, j, j + 1] = _next(np.asarray(product), right[l][: j + 1], b[l], rng)
    return list(np.linalg.svd(b, compute_uv=False))


def _next(vector: Floats, before: Floats, b: Floats, rng: np.random.Generator) -> tuple[Floats, float]:
    """Makes a vector orthogonal to all earlier vectors, and scales it to norm 1.

    Args:
      vector: [n].
      before: the earlier vectors, [j, n], orthonormal rows.
      b: the matrix B as far as it is known, [k, k].
      rng: generator for a random vector.

    Returns:
      The orthogonal vector of norm 1, [n], and its norm before scaling. The vector has vanished if its norm before
      scaling is negligible compared with the norm of the argument `vector`, or with the largest value in `b`. Then a
      random unit vector, orthogonal to the earlier vectors, and the norm 0 are returned.
    """
    scale = max(float(np.abs(b).max()), float(np.linalg.norm(vector)))
    vector = _without(vector, before)
    length = float(np.linalg.norm(vector))
    if length <= VANISHED * scale or length == 0.0:
        vector, length = _without(rng.standard_normal(len(vector)), before), 0.0
    return vector / np.linalg.norm(vector), length


def _without(vector: Floats, before: Floats) -> Floats:
    for _ in range(2):
        vector = vector - before.T @ (before @ vector)
    return vector
