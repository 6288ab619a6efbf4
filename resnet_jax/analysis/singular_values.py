"""Singular values of many linear maps from one space, given as products with vectors.

Golub and Kahan's bidiagonalisation (1965): k steps from a random vector give orthonormal V and U with J V = U B for an
upper bidiagonal B [k, k], whose largest singular values approach those of J. Every vector is orthogonalised twice
against all earlier ones, so that rounding causes no copies. A vector that vanishes is replaced by a random one. If k
equals the dimension of the space, V is a basis, and B has all singular values of J. With fewer steps, B's largest
singular value is a lower bound of J's largest, and B's smallest is an upper bound of J's smallest.
"""

from __future__ import annotations

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
    """The singular values of B for each map J_l: [inputs] -> [outputs[l]], falling, [min(steps, inputs, outputs)].

    Args:
      forward: [maps, inputs] -> for each map J_l v_l, [outputs[l]].
      backward: for each map u_l, [outputs[l]] -> J_l^T u_l, [maps, inputs].
      inputs, outputs: dimensions.
      steps: number of steps of the bidiagonalisation.
      seed: random seed for the first vectors, and for vectors that replace vanished ones.
      each_step: called after each step.
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
    """A unit vector orthogonal to `before` [j, n], and the norm of the orthogonal part of `vector`."""
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
