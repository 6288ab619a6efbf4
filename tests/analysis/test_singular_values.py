"""Golub and Kahan's bidiagonalisation against NumPy's singular values, of matrices and of small nets."""

from collections.abc import Sequence
from functools import partial

import jax
import numpy as np
import numpy.typing as npt
import pytest

from resnet_jax.analysis.modules import with_statistics_of
from resnet_jax.analysis.signal_propagation import Jacobians, activations
from resnet_jax.analysis.singular_values import singular_values
from tests.analysis.reference import examples, small

Floats = npt.NDArray[np.float64]


def of(matrices: Sequence[Floats], steps: int) -> list[Floats]:
    return singular_values(
        lambda vectors: [m @ v for m, v in zip(matrices, vectors, strict=True)],
        lambda vectors: np.stack([m.T @ u for m, u in zip(matrices, vectors, strict=True)]),
        matrices[0].shape[1],
        [len(m) for m in matrices],
        steps,
        seed=0,
    )


def test_with_as_many_steps_as_dimensions_all_are_exact() -> None:
    rng = np.random.default_rng(0)
    tall = rng.standard_normal((40, 12))
    steep = rng.standard_normal((30, 12)) @ np.diag(10.0 ** -np.arange(12))
    flat = rng.standard_normal((25, 5)) @ rng.standard_normal((5, 12))  # of rank 5
    equal = np.linalg.qr(rng.standard_normal((20, 12)))[0]  # every singular value is 1: the first step ends in zero
    for matrix, found in zip((tall, steep, flat, equal), of((tall, steep, flat, equal), 12), strict=True):
        expected = np.linalg.svd(matrix, compute_uv=False)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * expected[0])


def test_with_fewer_steps_they_are_bounds_from_inside() -> None:
    matrix = np.random.default_rng(0).standard_normal((60, 50))
    expected = np.linalg.svd(matrix, compute_uv=False)
    largest, smallest = 0.0, np.inf
    for steps in (5, 10, 20, 40):
        (found,) = of([matrix], steps)
        assert largest < found[0] <= expected[0] * (1 + 1e-12)
        assert smallest > found[-1] >= expected[-1] * (1 - 1e-12)
        largest, smallest = found[0], found[-1]
    assert largest == pytest.approx(expected[0], rel=1e-6)


@pytest.mark.usefixtures("x64")
def test_those_of_a_net_are_those_of_its_full_jacobians() -> None:
    model, variables = small(8, width=8)
    images, _ = examples(6)
    variables = jax.jit(partial(with_statistics_of, model))(variables, images)
    jacobians = Jacobians(model, variables, images.shape[1:])
    assert jacobians.names == ["stem", "stage1_block1", "stage2_block1", "stage3_block1"]
    found = jacobians.singular_values(images[0], steps=16, seed=0)
    full = jax.jit(jax.jacfwd(lambda x: activations(model, variables, x[None])))(images[0])
    for ours, jacobian in zip(found, full, strict=True):
        expected = np.linalg.svd(np.asarray(jacobian).reshape(-1, 16), compute_uv=False)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12 * expected[0])
