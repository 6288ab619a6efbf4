"""The gradient's norm in a layer against central differences of the loss of a net written out in NumPy."""

import copy

import numpy as np
import pytest

from resnet_jax.analysis.gradient_flow import gradient_norms
from tests.analysis.reference import NumPyNet, cross_entropy, examples, small


@pytest.mark.usefixtures("x64")
def test_norms_are_those_of_finite_differences() -> None:
    model, variables = small(8)
    images, labels = examples(8)
    found = gradient_norms(model, variables, images, labels)
    assert list(found) == [
        "stem_conv",
        *(f"stage{i}_block1/conv{j}" for i in (1, 2, 3) for j in (1, 2)),
        "head",
    ]
    for layer in ("stem_conv", "stage2_block1/conv1", "head"):
        moved = copy.deepcopy(variables)
        kernel = moved["params"]
        for part in layer.split("/"):
            kernel = kernel[part]
        flat, square = kernel["kernel"].reshape(-1), 0.0
        for i in range(flat.size):
            losses = []
            for step in (1e-6, -2e-6):
                flat[i] += step
                losses.append(cross_entropy(NumPyNet(model, moved, train=True)(images), labels))
            flat[i] += 1e-6
            square += ((losses[0] - losses[1]) / 2e-6) ** 2
        # Central differences of step h are good to h^2 + 1e-16 / h, here 1e-10 of the loss.
        assert found[layer] == pytest.approx(np.sqrt(square), rel=1e-6)
