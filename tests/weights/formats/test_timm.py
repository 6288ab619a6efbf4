"""timm's nets: which can be read, which are refused and why, and what config.json says.

timm_variants.json has names and shapes of the first layers of nets that timm 1.0.31 makes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.weights import export, files
from resnet_jax.weights.formats import recognise
from resnet_jax.weights.formats.base import Found
from resnet_jax.weights.formats.timm import FORMAT
from tests.weights.factory import random_arrays

VARIANTS = json.loads((Path(__file__).parent / "timm_variants.json").read_text())
MODEL = ModelConfig(
    family="imagenet", depth=50, block="bottleneck", shortcut="B", bottleneck_stride="3x3", num_classes=5, width=4
)
# As timm's config.json on the hub, of resnet50.a1_in1k.
CONFIG: dict[str, Any] = {
    "architecture": "resnet50",
    "num_classes": 5,
    "pretrained_cfg": {
        "tag": "a1_in1k",
        "input_size": [3, 224, 224],
        "test_input_size": [3, 288, 288],
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "test_crop_pct": 1.0,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
    "label_names": list("abcde"),
}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet18d", "a deep stem"),
        ("resnet50c", "a deep stem"),
        ("resnet50d", "a deep stem"),
        ("resnet10t", "a deep stem"),
        ("resnet26t", "a deep stem"),
        ("resnetrs50", "attention in its blocks"),
        ("ecaresnet50t", "attention in its blocks"),
        ("seresnet50", "attention in its blocks"),
        ("skresnet18", "attention in its blocks"),
        ("resnet50_gn", "another normalisation than batch norm"),
        ("resnext50_32x4d", "grouped convolutions"),
        ("wide_resnet50_2", "other inner widths of its bottlenecks"),
        ("resnet26", "its stages have 2, 2, 2, 2 bottleneck blocks"),
        ("resnet200", "its stages have 3, 24, 36, 3 bottleneck blocks"),
    ],
)
def test_nets_that_the_paper_has_not_are_refused_by_what_they_have(name: str, reason: str) -> None:
    found = Found({key: tuple(shape) for key, shape in VARIANTS[name].items()}, "net.pth")
    with pytest.raises(UserError, match=rf"net\.pth: .*{reason}"):
        recognise(found)


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A folder as the hub's client downloads it."""
    folder = tmp_path / "resnet50.a1_in1k"
    folder.mkdir()
    state = FORMAT.to_pytorch(random_arrays(MODEL, counted=True))
    safetensors.numpy.save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def test_a_folder_of_the_hub(hub: Path, tmp_path: Path) -> None:
    for place in (hub, hub / "model.safetensors"):
        net = files.load(place)
        assert net.model == MODEL
        assert net.class_names == tuple("abcde")
        # timm: Resize(floor(224 / 0.95)), CenterCrop(224).
        assert (net.preprocessing.resize, net.preprocessing.shape) == (235, (224, 224, 3))
        assert net.preprocessing.interpolation == "bicubic"
    files.save(net, tmp_path / "ours")
    export.export(files.load(tmp_path / "ours"), tmp_path / "back.safetensors", "timm")
    back = safetensors.numpy.load_file(tmp_path / "back.safetensors")
    there = safetensors.numpy.load_file(hub / "model.safetensors")
    assert back.keys() == there.keys()
    for name, array in there.items():
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"architecture": "resnetaa50"}, "architecture: got 'resnetaa50'; legal: timm's resnet18"),
        ({"architecture": "resnetblur50"}, "architecture: got 'resnetblur50'"),
        ({"architecture": "resnet18"}, "architecture: got 'resnet18'; legal: a ResNet-50, as the arrays in"),
        ({"architecture": None}, "architecture: got None"),
        ({"num_classes": 10}, "num_classes: got 10; legal: 5, as the arrays in"),
        ({"pretrained_cfg": 3}, "pretrained_cfg: got 3; legal: a table"),
        ({"pretrained_cfg": {"input_size": [3, 224]}}, r"input_size: got \[3, 224\]; legal: channels, height"),
        ({"pretrained_cfg": {"input_size": [1, 224, 224]}}, "with the 3 channels that the arrays in"),
        ({"pretrained_cfg": {"crop_mode": "squash"}}, "crop_mode: got 'squash'; legal: 'center'"),
        ({"pretrained_cfg": {"interpolation": ["bicubic"]}}, r"interpolation: got \['bicubic'\]; legal: 'bilinear'"),
        ({"pretrained_cfg": {"crop_pct": 0}}, "crop_pct: got 0; legal: a number from"),
        ({"pretrained_cfg": {"crop_pct": 1e-9}}, "crop_pct: got 1e-09; legal: a number from 0.027344 to 1"),
        ({"pretrained_cfg": {"mean": [0.5]}}, r"pretrained_cfg\.mean: got \[0\.5\]; legal: a list of 3 numbers"),
        ({"pretrained_cfg": {"std": [0.5, 0.5, 0]}}, "std: got .*; legal: a list of 3 numbers above 0"),
        ({"label_names": ["a"]}, "label_names: got 1 names; legal: 5"),
        ({"label_names": 5}, "label_names: got 5; legal: 5 names"),
        ({"label_names": "abcde"}, "label_names: got 'abcde'; legal: 5 names"),
        ({"label_names": ["a", "b", "c", "d", 5]}, "label_names: got 5 for class 4; legal: 5 names"),
    ],
)
def test_a_config_that_does_not_fit(change: dict[str, Any], sentence: str, hub: Path) -> None:
    (hub / "config.json").write_text(json.dumps({**CONFIG, **change}))
    with pytest.raises(UserError, match=sentence) as caught:
        files.load(hub)
    assert str(caught.value).startswith(f"{hub / 'config.json'}: ")
