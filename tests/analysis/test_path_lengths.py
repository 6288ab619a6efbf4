"""Paths of a small net against its NumPy twin, and their sum against the whole gradient."""

import itertools

import numpy as np
import pytest

from resnet_jax.analysis.path_lengths import check, path_gradient, paths_of_length
from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from tests.analysis.reference import NumPyNet, cross_entropy, examples, small


def test_lengths_are_binomial() -> None:
    counted = [sum(sum(way) == length for way in itertools.product((0, 1), repeat=9)) for length in range(10)]
    assert paths_of_length(9) == counted


@pytest.mark.usefixtures("x64")
def test_the_paths_of_a_net_add_up_to_its_gradient() -> None:
    """Three blocks have eight paths."""
    model, variables = small(8)
    images, labels = examples(4)
    ways = [np.array(way, float) for way in itertools.product((0, 1), repeat=3)]
    parts = [np.asarray(path_gradient(model, variables, images, labels, way)) for way in ways]
    whole = np.asarray(path_gradient(model, variables, images, labels, None))
    assert np.abs(sum(parts)).max() > 1e-3
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-9, atol=1e-12)
    assert all(np.abs(part).max() > 0.0 for part in parts)


@pytest.mark.usefixtures("x64")
def test_the_whole_gradient_is_that_of_finite_differences_in_numpy() -> None:
    """The stem's BN bias shifts the first block's input before the ReLU: its derivative sums the gradient over pixels
    where the ReLU is open."""
    model, variables = small(8)
    images, labels = examples(4)
    gradient = np.asarray(path_gradient(model, variables, images, labels, None))
    net = NumPyNet(model, variables)
    stem = net.norm(net.conv(images, "stem_conv"), "stem_norm")
    bias = variables["params"]["stem_norm"]["bias"]
    for channel in range(len(bias)):
        losses = []
        for step in (1e-6, -2e-6):
            bias[channel] += step
            losses.append(len(labels) * cross_entropy(NumPyNet(model, variables)(images), labels))
        bias[channel] += 1e-6
        expected = (gradient * (stem > 0.0))[..., channel].sum()
        # Central differences of step h are good to h^2 + 1e-16 / h, here 1e-9 of the loss.
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"shortcut": "none"}, "model.shortcut"),
        ({"cut": ("stage1",)}, "model.cut"),
        ({"activation_order": "full_preactivation"}, "model.activation_order"),
    ],
)
def test_nets_that_are_no_sum_over_paths_are_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(UserError, match=field):
        check(ModelConfig(**changes))  # type: ignore[arg-type]
