"""akamaster's names, against names written down here."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import ModelConfig
from resnet_jax.models.resnet import build
from resnet_jax.weights.arrays import Arrays, shapes
from resnet_jax.weights.bundle import Origin, Weights, usual_preprocessing
from resnet_jax.weights.classes import usual_classes
from resnet_jax.weights.formats.akamaster import FORMAT
from tests.weights.factory import CIFAR, random_arrays


def test_the_names_of_resnet20() -> None:
    theirs = FORMAT.shapes(shapes(ModelConfig(depth=20, shortcut="A", num_classes=10), 3))
    assert len(theirs) == 97
    assert theirs["layer3.2.conv2.weight"] == (64, 64, 3, 3)
    assert theirs["linear.weight"] == (10, 64)
    assert not any("shortcut" in name for name in theirs)


def test_files_are_of_nets_inside_data_parallel() -> None:
    assert all(name.startswith("module.") for name in FORMAT.to_pytorch(random_arrays(CIFAR)))


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_zero_channels_at_the_end_are_exported_as_an_equal_net(block: Literal["basic", "bottleneck"]) -> None:
    """Logits of both nets in float64, on random values: the channels are only in another order."""
    depth = 14 if block == "basic" else 11
    model = ModelConfig(depth=depth, block=block, shortcut="A", width=6, num_classes=5, dtype="float64")
    arrays = random_arrays(model)
    other, moved, notes = FORMAT.writable(model, arrays)
    assert other == dataclasses.replace(model, shortcut_padding="both")
    assert notes
    x = np.random.default_rng(0).normal(size=(3, 16, 16, 3))
    with jax.enable_x64(True):
        logits = [
            np.asarray(build(m).apply(tree(a), jnp.asarray(x, jnp.float64), train=False))
            for m, a in ((model, arrays), (other, moved), (other, arrays))
        ]
    np.testing.assert_allclose(logits[1], logits[0], rtol=1e-10)
    assert abs(logits[2] - logits[0]).max() > 1e-3  # without the order it is another net
    assert all(sorted(moved[name].ravel()) == sorted(array.ravel()) for name, array in arrays.items())


def tree(arrays: Arrays) -> dict[str, Any]:
    weights = Weights(
        CIFAR, arrays, usual_preprocessing(CIFAR, 3), usual_classes(CIFAR), Origin("random", "0" * 16)
    ).variables()
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), weights)
