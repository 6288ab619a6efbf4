"""Layer responses against a net written out in NumPy: which arrays they are, and their standard deviations."""

import numpy as np
import pytest

from resnet_jax.analysis.layer_responses import layer_responses
from tests.analysis.reference import NumPyNet, examples, small


@pytest.mark.parametrize(("shortcut", "order"), [("A", "original"), ("none", "original"), ("A", "full_preactivation")])
@pytest.mark.usefixtures("x64")
def test_they_are_the_standard_deviations_of_each_layer(shortcut: str, order: str) -> None:
    model, variables = small(shortcut=shortcut, activation_order=order)
    images, _ = examples(6)
    net = NumPyNet(model, variables)
    net(images)
    # Four images at once and then two: groups of different size are joined.
    found = layer_responses(model, variables, images, batch_size=4)
    assert list(found) == list(net.responses)
    assert len(found) == 13
    np.testing.assert_allclose(list(found.values()), [y.std() for y in net.responses.values()], rtol=1e-12)
