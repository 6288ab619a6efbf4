"""akamaster's names, against names written down here."""

from __future__ import annotations

from resnet_jax.config import ModelConfig
from resnet_jax.weights.arrays import shapes
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
