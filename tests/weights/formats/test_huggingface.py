"""transformers' ResNets: names against those of real nets, and the files beside the weights.

transformers_nets.json has names and shapes of nets that transformers 5.24.0 makes, with 11 classes.
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
from resnet_jax.weights.arrays import counts, shapes
from resnet_jax.weights.formats import wrapper_prefix
from resnet_jax.weights.formats.base import Found, Unsaid
from resnet_jax.weights.formats.huggingface import FORMAT
from tests.weights.factory import random_arrays

NETS = json.loads((Path(__file__).parent / "transformers_nets.json").read_text())
SMALL = ModelConfig(
    family="imagenet", depth=50, block="bottleneck", shortcut="B", bottleneck_stride="3x3", num_classes=3, width=4
)
CONFIG = {
    "model_type": "resnet",
    "downsample_in_bottleneck": False,
    "hidden_act": "relu",
    "id2label": {"0": "tench, Tinca tinca", "1": "goldfish", "2": "shark"},
}
# Of microsoft/resnet-50 on the hub.
PICTURES = {
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ConvNextFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": 224,
}


@pytest.mark.parametrize(
    ("name", "depth", "classes"), [("resnet18", 18, 11), ("resnet50", 50, 11), ("model18", 18, None)]
)
def test_names_and_shapes_of_real_nets(name: str, depth: int, classes: int | None) -> None:
    theirs = {key: tuple(shape) for key, shape in NETS[name].items()}
    told = FORMAT.net(Found(theirs, "net"))
    assert (told.model.depth, told.model.num_classes, told.channels) == (depth, classes, 3)
    ours = shapes(told.model, 3)
    assert FORMAT.shapes({**ours, **counts(ours)}) == theirs


def test_prefixes_of_both_kinds_of_net() -> None:
    for name in ("resnet18", "model18"):
        for prefix in ("", "module.", "model."):
            assert wrapper_prefix([prefix + key for key in NETS[name]], "net") == prefix


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    folder = tmp_path / "resnet-50"
    folder.mkdir()
    safetensors.numpy.save_file(FORMAT.to_pytorch(random_arrays(SMALL, counted=True)), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES))
    return folder


def test_a_folder_of_the_hub(hub: Path, tmp_path: Path) -> None:
    net = files.load(hub)
    assert net.model == SMALL
    assert net.class_names == ("tench, Tinca tinca", "goldfish", "shark")
    assert (net.preprocessing.resize, net.preprocessing.shape, net.preprocessing.interpolation) == (
        256,
        (224, 224, 3),
        "bicubic",
    )
    export.export(net, tmp_path / "back.safetensors", "huggingface")
    there, back = (safetensors.numpy.load_file(f) for f in (hub / "model.safetensors", tmp_path / "back.safetensors"))
    assert back.keys() == there.keys()
    for name, array in there.items():
        np.testing.assert_array_equal(back[name], array)


def test_config_says_where_the_stride_is(hub: Path) -> None:
    (hub / "config.json").write_text(json.dumps({**CONFIG, "downsample_in_bottleneck": True}))
    assert files.load(hub).model.bottleneck_stride == "1x1"


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("config.json", {"hidden_act": "gelu"}, "hidden_act: got 'gelu'; legal: 'relu'"),
        ("config.json", {"downsample_in_first_stage": True}, "downsample_in_first_stage: got True; legal: False"),
        ("config.json", {"id2label": {"0": "a", "2": "b"}}, "id2label: got 2 names; legal: 3, one for each number"),
        ("config.json", {"id2label": {"0": "a"}}, "id2label: got 1 names; legal: 3"),
        ("config.json", {"id2label": 5}, "id2label: got 5; legal: 3 names"),
        ("config.json", {"depths": [2, 2, 2, 2]}, r"depths: got .*; legal: \[3, 4, 6, 3\], as the arrays in"),
        ("config.json", {"layer_type": "basic"}, "layer_type: got 'basic'; legal: 'bottleneck'"),
        ("config.json", {"hidden_sizes": [256, 512, 1024, 2048]}, r"hidden_sizes: got .*; legal: \[16, 32, 64, 128\]"),
        ("config.json", {"num_channels": 1}, "num_channels: got 1; legal: 3"),
        ("config.json", {"downsample_in_bottleneck": "no"}, "downsample_in_bottleneck: got 'no'; legal: true, false"),
        ("preprocessor_config.json", {"size": 384}, "this preprocessing is not supported"),
        ("preprocessor_config.json", {"size": {"height": 224, "width": 224}}, "this preprocessing is not supported"),
        ("preprocessor_config.json", {"size": -3}, "size: got -3; legal: a whole number from 1 to 8192"),
        ("preprocessor_config.json", {"resample": 0}, "this preprocessing is not supported"),
        ("preprocessor_config.json", {"resample": []}, "this preprocessing is not supported"),
        ("preprocessor_config.json", {"crop_pct": 0}, "crop_pct: got 0; legal: a number from"),
        ("preprocessor_config.json", {"do_resize": "yes"}, "do_resize: got 'yes'; legal: true, false"),
        ("preprocessor_config.json", {"image_mean": "red"}, "image_mean: got 'red'; legal: a list of 3 numbers"),
        ("preprocessor_config.json", {"image_mean": [1]}, r"image_mean: got \[1\]; legal: a list of 3 numbers"),
    ],
)
def test_files_beside_that_do_not_fit(file: str, change: dict[str, Any], sentence: str, hub: Path) -> None:
    (hub / file).write_text(json.dumps({**json.loads((hub / file).read_text()), **change}))
    with pytest.raises(UserError, match=sentence) as caught:
        files.load(hub)
    assert str(caught.value).startswith(f"{hub / file}: ")


def test_the_stride_asked_for_against_the_config(hub: Path) -> None:
    with pytest.raises(
        UserError, match="in_bottleneck: got False; legal: True, because bottleneck_stride=1x1 was given"
    ):
        files.load(hub, unsaid=Unsaid("1x1"))


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_a_damaged_file_does_not_lose_what_the_other_says(file: str, hub: Path) -> None:
    (hub / "model.safetensors").rename(hub / "net.safetensors")
    (hub / file).write_text("{")
    notes: list[str] = []
    net = files.load(hub / "net.safetensors", note=notes.append)
    assert file in notes[0]
    assert (net.class_names[1] == "goldfish") == (file != "config.json")
    assert (net.preprocessing.interpolation == "bicubic") == (file == "config.json")
