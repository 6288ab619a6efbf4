"""Nets into files and back, to the bit; and files that are not what they should be."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from resnet_jax.config import ModelConfig
from resnet_jax.data import Normalization
from resnet_jax.errors import UserError
from resnet_jax.weights import export, files
from resnet_jax.weights.bundle import Weights
from resnet_jax.weights.classifier import Classifier
from resnet_jax.weights.formats import akamaster, torchvision
from resnet_jax.weights.formats.base import Unsaid, layout
from resnet_jax.weights.preprocessing import Preprocessing
from tests.weights.factory import CIFAR, random_arrays, random_weights
from tests.weights.torch_files import saved

IMAGENET = ModelConfig(family="imagenet", depth=50, shortcut="B", bottleneck_stride="3x3", num_classes=1000)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Equal to the bit, dtypes and shapes included."""
    return one.keys() == other.keys() and all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in ((array, other[name]) for name, array in one.items())
    )


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(depth=20, block="basic", shortcut="A", shortcut_padding="both", num_classes=10),
        ModelConfig(depth=56, block="basic", shortcut="B", num_classes=17),
        # At a quarter of their width: no name or layout depends on it; tests/parity has the whole of ResNet-152.
        dataclasses.replace(IMAGENET, block="bottleneck", width=16),
        dataclasses.replace(IMAGENET, block="bottleneck", width=16, depth=152),
    ],
    ids=lambda model: f"resnet-{model.depth}",
)
def test_round_trips_are_exact_to_the_bit(model: ModelConfig, tmp_path: Path) -> None:
    """PyTorch's file -> net -> our folder -> net -> PyTorch's file, with counts of batches."""
    form = torchvision.FORMAT if model.family == "imagenet" else akamaster.FORMAT
    state = form.to_pytorch(random_arrays(model, counted=True))
    (tmp_path / "net.pth").write_bytes(saved(state, under="state_dict"))
    first = files.load(tmp_path / "net.pth")
    assert first.model == model
    files.save(first, tmp_path / "net")
    second = files.load(tmp_path / "net")
    assert same(second.arrays, first.arrays)
    assert (second.model, second.class_names, second.origin) == (first.model, first.class_names, first.origin)
    export.export(second, tmp_path / "net.safetensors")
    assert same(safetensors.numpy.load_file(tmp_path / "net.safetensors"), state)
    assert same(files.load(tmp_path / "net.safetensors").arrays, first.arrays)


def test_a_pytorch_net_has_what_its_project_has(tmp_path: Path) -> None:
    (tmp_path / "net.th").write_bytes(saved(akamaster.FORMAT.to_pytorch(random_arrays(CIFAR)), legacy=True))
    net = files.load(tmp_path / "net.th")
    assert net.class_names[:3] == ("airplane", "automobile", "bird")
    assert (net.preprocessing.resize, net.preprocessing.shape) == (32, (32, 32, 3))
    np.testing.assert_allclose(net.preprocessing.normalization.mean.ravel(), [0.485, 0.456, 0.406])
    assert net.read_from == net.origin
    assert net.origin.file == "net.th"
    assert hashlib.sha256((tmp_path / "net.th").read_bytes()).hexdigest().startswith(net.origin.digest)
    names = random_weights(dataclasses.replace(IMAGENET, depth=18, width=2, bottleneck_stride="1x1")).class_names
    assert (names[0], names[281], names[999]) == ("tench", "tabby", "toilet tissue")


def test_a_mean_image_and_other_sizes_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    normalization = Normalization(rng.random((1, 6, 5, 1)), np.ones((1, 1, 1, 1)))
    net = dataclasses.replace(
        random_weights(channels=1),
        preprocessing=Preprocessing(None, 6, 5, 1, normalization),
        class_names=tuple("abcdefghij"),
    )
    files.save(net, tmp_path / "net")
    back = files.load(tmp_path / "net").preprocessing
    assert (back.resize, back.shape) == (None, (6, 5, 1))
    assert back.normalization.mean.tobytes() == normalization.mean.tobytes()
    assert files.load(tmp_path / "net" / "model.safetensors").class_names == tuple("abcdefghij")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"shortcut": "none"}, "model.shortcut: got 'none'; legal: 'A', in a state dict of akamaster"),
        ({"shortcut": "C"}, "model.shortcut: got 'C'"),
    ],
)
def test_a_net_that_pytorch_s_would_not_compute_is_not_exported(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    net = random_weights(dataclasses.replace(CIFAR, **change))
    with pytest.raises(UserError, match=sentence):
        export.export(net, tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []
    files.save(net, tmp_path / "net")  # which says what it is
    assert files.load(tmp_path / "net").model == net.model


def test_a_preactivation_net_has_no_names_in_pytorch(tmp_path: Path) -> None:
    net = random_weights(dataclasses.replace(CIFAR, activation_order="full_preactivation"))
    with pytest.raises(UserError, match=r"model\.activation_order: got 'full_preactivation'"):
        export.export(net, tmp_path / "net.safetensors")


def edited(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads((folder / "config.json").read_text())
    change(values)
    (folder / "config.json").write_text(json.dumps(values))


@pytest.fixture
def net(tmp_path: Path) -> Weights:
    weights = random_weights()
    files.save(weights, tmp_path / "net")
    return weights


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v["class_names"].pop(), r"config\.json: class_names: got 9 names; legal: 10, one for each class"),
        (lambda v: v.update(class_names=["\x1b"] * 10), "class_names: got '.x1b'; legal: names that can be printed"),
        (lambda v: v["model"].update(depth=14), r"not the arrays of resnet-14 .*: 30 missing: stage\d_block2/"),
        (lambda v: v["model"].update(depth=15), r"config\.json: model\.depth: got 15; legal: 6n\+2"),
        (lambda v: v["model"].update(dpeth=8), r"model\.dpeth: no such field; did you mean 'depth'"),
        (lambda v: v["model"].update(num_classes=11), r"2 misshapen: head/bias \(10,\), needed \(11,\), head/kernel"),
        (lambda v: v["preprocessing"].pop("mean"), r"preprocessing\.mean: missing"),
        (lambda v: v["preprocessing"].update(std=[0, 1, 1]), r"preprocessing\.std: got 0\.0; legal: numbers above 0"),
        (lambda v: v["preprocessing"].update(mean=[0.5, 0.5]), r"preprocessing\.mean: got the shape \(1, 1, 1, 2\)"),
        (lambda v: v["preprocessing"].update(mean="red"), r"preprocessing\.mean: got 'red'"),
        (
            lambda v: v["preprocessing"].update(resize=31),
            r"preprocessing\.resize: got 31; legal: None, or a whole",
        ),
        (
            lambda v: v["preprocessing"].update(height=-1),
            r"preprocessing\.height: got -1; legal: a whole number above 0",
        ),
        (lambda v: v.update(format="other"), r"config\.json: got the format 'other'; legal: 'resnet_jax net 1'"),
        (lambda v: v.pop("origin"), r"config\.json: not a file of this project \(KeyError\('origin'\)\)"),
    ],
)
def test_a_config_that_does_not_fit(net: Weights, change: Any, sentence: str, tmp_path: Path) -> None:
    edited(tmp_path / "net", change)
    with pytest.raises(UserError, match=sentence):
        files.load(tmp_path / "net")


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:]], ids=["cut", "bit"]
)
def test_damage_in_our_own_form_is_found(net: Weights, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = tmp_path / "net" / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=r"model\.safetensors: .*config\.json"):
        files.load(tmp_path / "net")


def test_files_that_hold_no_net(net: Weights, tmp_path: Path) -> None:
    export.export(net, tmp_path / "net.safetensors")
    content = (tmp_path / "net.safetensors").read_bytes()
    cases = {
        "cut.safetensors": (content[:-10], "damaged or truncated"),
        "text.pth": (b"These are no weights, but a text.", "not safetensors, and not written by torch.save"),
        "empty.pth": (b"", r"empty \(0 bytes\)"),
        "none.safetensors": (safetensors.numpy.save({}), r"not a known net; .* the file has the arrays \(none\)"),
        "half.safetensors": (
            safetensors.numpy.save({"conv1.weight": np.zeros(3, np.float32)}),
            "not a known net; .* the file has the arrays conv1.weight",
        ),
    }
    for name, (bad, sentence) in cases.items():
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(UserError, match=f"{name}: {sentence}"):
            files.load(tmp_path / name)
    with pytest.raises(UserError, match="nowhere: there is no such file or folder"):
        files.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"model\.safetensors"):
        files.load(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(UserError, match=r"weights/.*python -m experiments\.convert"):
        files.load(tmp_path)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    net = random_weights()
    name = next(iter(net.arrays))
    net.arrays[name].reshape(-1)[0] = np.nan
    export.export(net, tmp_path / "net.safetensors")
    with pytest.raises(UserError, match=r"net\.safetensors: .*not finite"):
        files.load(tmp_path / "net.safetensors")


def test_nothing_else_is_overwritten(net: Weights, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    for place in (tmp_path / "mine", tmp_path / "mine" / "letter"):
        with pytest.raises(UserError, match=r"exists, and is not the folder of a net"):
            files.save(net, place)
    (tmp_path / "net" / "letter").write_text("dear")
    with pytest.raises(UserError, match="is not the folder of a net"):
        files.save(net, tmp_path / "net")
    (tmp_path / "net" / "letter").unlink()
    other = random_weights(seed=1)
    files.save(other, tmp_path / "net")
    assert same(files.load(tmp_path / "net").arrays, other.arrays)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "net"]


def test_a_state_dict_beside_another_project_s_config(net: Weights, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    export.export(net, tmp_path / "hub" / "model.safetensors")
    (tmp_path / "hub" / "config.json").write_text('{"architecture": "resnet"}')
    assert same(files.load(tmp_path / "hub" / "model.safetensors").arrays, net.arrays)
    with pytest.raises(UserError, match=r"got the format ''; legal: 'resnet_jax net 1'"):
        files.load(tmp_path / "hub")


def test_an_ending_that_is_none(net: Weights, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ending .*; legal: \.safetensors, \.pt, \.pth, \.th"):
        export.export(net, tmp_path / "net.onnx")


def test_a_format_that_does_not_hold_such_nets(net: Weights, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"family: got 'cifar'; legal: 'imagenet', ResNet-18 to 152, in .* of huggingface;"
    ):
        export.export(net, tmp_path / "net.safetensors", "huggingface")


def test_safetensors_whose_length_begins_like_a_pickle(net: Weights, tmp_path: Path) -> None:
    """The length of the header comes first, in one of 256 files with a pickle's first byte."""
    _, state, _ = export.state_dict(net)
    for padding in range(256):
        content = safetensors.numpy.save(state, metadata={"padding": "x" * 8 * padding})
        if content[0] == 0x80:
            break
    assert content[0] == 0x80
    (tmp_path / "net.pth").write_bytes(content)
    assert same(files.load(tmp_path / "net.pth").arrays, net.arrays)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_bfloat16_is_kept_to_the_bit(ending: str, tmp_path: Path) -> None:
    state = akamaster.FORMAT.to_pytorch(
        {name: array.astype(ml_dtypes.bfloat16) for name, array in random_arrays(CIFAR).items()}
    )
    content = saved(state) if ending == "pth" else safetensors.numpy.save(state)
    (tmp_path / f"net.{ending}").write_bytes(content)
    found = files.load(tmp_path / f"net.{ending}")
    assert {array.dtype for array in found.arrays.values()} == {np.dtype(ml_dtypes.bfloat16)}
    files.save(found, tmp_path / "net")
    back = files.load(tmp_path / "net")
    assert same(back.arrays, found.arrays)
    assert same(akamaster.FORMAT.to_pytorch(back.arrays), state)
    kernel = back.variables()["params"]["stem_conv"]["kernel"]
    np.testing.assert_array_equal(kernel, found.arrays["stem_conv/kernel"].astype(np.float32))


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "model.", "module._orig_mod.", "net.", "backbone."])
def test_wrapped_nets_are_read(prefix: str, net: Weights, tmp_path: Path) -> None:
    state = {prefix + akamaster.FORMAT.names([name])[name]: layout(array) for name, array in net.arrays.items()}
    (tmp_path / "net.pth").write_bytes(saved({**state, "n_averaged": np.array(5, np.int64)}))
    notes: list[str] = []
    assert same(files.load(tmp_path / "net.pth", note=notes.append).arrays, net.arrays)
    assert notes == [f"{tmp_path}/net.pth: n_averaged, the number of averaged nets, is ignored."]


def test_extra_arrays_are_left_out_by_option_and_listed(net: Weights, tmp_path: Path) -> None:
    extra = {"total_ops": np.zeros(1), "layer1.0.total_ops": np.zeros(1), "layer1.0.conv1.total_params": np.zeros(1)}
    state = {akamaster.FORMAT.names([name])[name]: layout(array) for name, array in net.arrays.items()}
    (tmp_path / "net.pth").write_bytes(saved({**state, **extra}))
    with pytest.raises(UserError, match=r"3 unexpected: .*--ignore-extra"):
        files.load(tmp_path / "net.pth")
    notes: list[str] = []
    assert same(files.load(tmp_path / "net.pth", ignore_extra=True, note=notes.append).arrays, net.arrays)
    assert "3 arrays do not belong to the net" in notes[0]


def test_another_epsilon_is_said_by_option_and_kept(net: Weights, tmp_path: Path) -> None:
    export.export(net, tmp_path / "net.safetensors")
    found = files.load(tmp_path / "net.safetensors", unsaid=Unsaid(epsilon=1e-3))
    assert found.model.norm.epsilon == 1e-3
    files.save(found, tmp_path / "other")
    assert files.load(tmp_path / "other").model.norm.epsilon == 1e-3
    _, (note,) = export.export(files.load(tmp_path / "other"), tmp_path / "back.safetensors")
    assert "epsilon=0.001" in note
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "net.safetensors").read_bytes()


def test_a_net_without_a_last_layer_comes_back_and_classifies_nothing(tmp_path: Path) -> None:
    model = dataclasses.replace(CIFAR, num_classes=None, block="basic")
    state = akamaster.FORMAT.to_pytorch(random_arrays(model))
    (tmp_path / "net.pth").write_bytes(saved(state))
    found = files.load(tmp_path / "net.pth")
    assert (found.model, found.class_names) == (model, ())
    files.save(found, tmp_path / "net")
    assert same(files.load(tmp_path / "net").arrays, found.arrays)
    with pytest.raises(UserError, match="a net without a last layer"):
        Classifier(found)


def test_a_depth_of_millions_is_refused_at_once(net: Weights, tmp_path: Path) -> None:
    edited(tmp_path / "net", lambda values: values["model"].update(depth=6 * 10**8 + 2))
    with pytest.raises(UserError, match=r"config\.json: model\.depth: got 600000002; legal: the depth of the net"):
        files.load(tmp_path / "net")
