"""torchvision's names, against names written down here and counts that its nets are known by."""

import numpy as np
import pytest

from resnet_jax.config import ModelConfig
from resnet_jax.weights.arrays import counts, shapes
from resnet_jax.weights.formats.torchvision import FORMAT

BN = ("weight", "bias", "running_mean", "running_var")


def test_the_names_of_resnet18() -> None:
    """torchvision's resnet18().state_dict(), without the counts of batches."""
    expected = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 512), "fc.bias": (1000,)}
    expected |= {f"bn1.{leaf}": (64,) for leaf in BN}
    below = 64
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            at = f"layer{layer}.{block}"
            expected[f"{at}.conv1.weight"] = (width, below, 3, 3)
            expected[f"{at}.conv2.weight"] = (width, width, 3, 3)
            expected |= {f"{at}.bn{i}.{leaf}": (width,) for i in (1, 2) for leaf in BN}
            if below != width:
                expected[f"{at}.downsample.0.weight"] = (width, below, 1, 1)
                expected |= {f"{at}.downsample.1.{leaf}": (width,) for leaf in BN}
            below = width
    model = ModelConfig(family="imagenet", depth=18, shortcut="B", num_classes=1000)
    assert FORMAT.shapes(shapes(model, 3)) == expected


@pytest.mark.parametrize(
    ("depth", "arrays", "parameters"),
    # Entries of torchvision's state dicts, and the parameters that its documentation gives.
    [
        (18, 122, 11_689_512),
        (34, 218, 21_797_672),
        (50, 320, 25_557_032),
        (101, 626, 44_549_160),
        (152, 932, 60_192_808),
    ],
)
def test_the_nets_by_their_numbers(depth: int, arrays: int, parameters: int) -> None:
    ours = shapes(ModelConfig(family="imagenet", depth=depth, shortcut="B", num_classes=1000), 3)
    theirs = FORMAT.shapes({**ours, **counts(ours)})
    assert len(theirs) == arrays
    learnt = {name: shape for name, shape in theirs.items() if name.endswith(("weight", "bias"))}
    assert sum(int(np.prod(shape)) for shape in learnt.values()) == parameters


def test_names_and_layouts_come_back() -> None:
    arrays = {
        "stem_conv/kernel": np.ones((3, 3, 3, 16)),
        "stage2_block10/shortcut_norm/var": np.arange(4.0),
        "stage2_block10/norm3/batches": np.array(3),
    }
    theirs = FORMAT.to_pytorch(arrays)
    assert list(theirs) == ["conv1.weight", "layer2.9.downsample.1.running_var", "layer2.9.bn3.num_batches_tracked"]
    back = FORMAT.from_pytorch(theirs, [*arrays, "head/bias"])
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
