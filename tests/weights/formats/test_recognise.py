"""Which net a state dict is of, and what it lacks."""

import dataclasses

import pytest

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.weights.arrays import Mismatch, Shape, require_arrays, shapes
from resnet_jax.weights.bundle import describe, unlike
from resnet_jax.weights.formats import akamaster, format_for, formats, recognise, torchvision, wrapper_prefix
from resnet_jax.weights.formats.base import Format, Found, Unsaid

BOTTLENECK = ModelConfig(family="imagenet", depth=50, shortcut="B", bottleneck_stride="3x3", num_classes=7, width=8)
NETS = [
    ModelConfig(depth=20, block="basic", shortcut="A", shortcut_padding="both", num_classes=10),
    ModelConfig(depth=56, block="basic", shortcut="B", num_classes=100, width=8),
    ModelConfig(family="imagenet", depth=18, block="basic", shortcut="B", num_classes=3, width=8),
    ModelConfig(family="imagenet", depth=34, block="basic", shortcut="B", num_classes=3, width=8),
    dataclasses.replace(BOTTLENECK, block="bottleneck"),
    dataclasses.replace(BOTTLENECK, block="bottleneck", depth=101),
    dataclasses.replace(BOTTLENECK, block="bottleneck", depth=152),
]


def named(model: ModelConfig, channels: int = 3) -> tuple[Format, dict[str, Shape]]:
    form = torchvision.FORMAT if model.family == "imagenet" else akamaster.FORMAT
    return form, form.shapes(shapes(model, channels))


@pytest.mark.parametrize("model", NETS, ids=describe)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_net_is_told_from_its_names_and_shapes(model: ModelConfig, channels: int) -> None:
    form, found = named(model, channels)
    claimed, told = recognise(Found(found, "net.pth"))
    assert (claimed, told.model, told.channels) == (form, model, channels)


def test_the_stride_of_a_bottleneck_is_not_told_by_any_shape() -> None:
    paper = dataclasses.replace(BOTTLENECK, bottleneck_stride="1x1")
    assert named(paper) == named(BOTTLENECK)
    assert recognise(Found(named(paper)[1], "net.pth"))[1].model.bottleneck_stride == "3x3"
    assert recognise(Found(named(paper)[1], "net.pth", Unsaid("1x1")))[1].model.bottleneck_stride == "1x1"


def test_what_is_missing_unexpected_and_misshapen_is_listed() -> None:
    _, needed = named(NETS[0])
    found = {**needed, "layer3.2.extra": (1,), "linear.weight": (10, 32)}
    del found["layer1.1.bn2.bias"]
    with pytest.raises(Mismatch) as caught:
        require_arrays(needed, {}, found, "net.pth", "resnet-20")
    assert caught.value.differences.missing == ("layer1.1.bn2.bias",)
    assert caught.value.differences.unexpected == ("layer3.2.extra",)
    assert caught.value.differences.misshapen == ("linear.weight (10, 32), needed (10, 64)",)
    sentence = str(caught.value)
    assert sentence.startswith("net.pth: ")
    assert "1 missing: layer1.1.bn2.bias; 1 unexpected: layer3.2.extra; 1 misshapen: linear.weight" in sentence
    assert "--ignore-extra" in sentence
    require_arrays(needed, {"bn1.num_batches_tracked": ()}, {**needed, "bn1.num_batches_tracked": ()}, "", "")


def test_the_arrays_of_another_depth_are_counted() -> None:
    # A block more in each of three stages: two convolutions and two batch norms of four arrays.
    with pytest.raises(Mismatch, match=r"30 missing: layer\d\.3\..* and 27 more\.$"):
        require_arrays(named(dataclasses.replace(NETS[0], depth=26))[1], {}, named(NETS[0])[1], "net.pth", "resnet-26")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: {"encoder.weight": (3, 3)}, "not a known net; .* the file has the arrays encoder.weight"),
        (lambda s: {**s, "layer3.9.conv1.weight": (64, 64, 3, 3)}, "its stages have 3, 3, 10 basic blocks; legal"),
        (
            lambda s: {k: v for k, v in s.items() if k != "linear.weight"},
            "linear.weight is missing; legal: weights of the last layer",
        ),
        (
            lambda s: {**s, "conv1.weight": ()},
            r"conv1.weight has the shape \(\); legal: weights of a convolution, .* 4 axes",
        ),
        (lambda s: {**s, "linear.weight": (1, 64)}, "its net cannot be built: model.num_classes: got 1"),
    ],
)
def test_a_state_dict_of_no_known_net(change: object, sentence: str) -> None:
    with pytest.raises(UserError, match=rf"net\.pth: {sentence}"):
        recognise(Found(change(named(NETS[0])[1]), "net.pth"))  # type: ignore[operator]


def test_nets_differ_only_in_what_changes_their_values() -> None:
    model = ModelConfig(depth=20, num_classes=10)
    same = dataclasses.replace(
        model, num_classes=5, dtype="bfloat16", remat=True, width=16, block="basic", zero_gamma=True
    )
    assert unlike(model, same) == {}
    # The side of a projection's zero channels, and the stride of a bottleneck there is none of, say nothing.
    assert unlike(dataclasses.replace(model, bottleneck_stride="3x3"), model) == {}
    other = dataclasses.replace(model, depth=56, shortcut="B")
    assert unlike(model, other) == {"depth": (20, 56), "shortcut": ("A", "B")}


def test_without_a_last_layer_a_net_has_no_classes() -> None:
    shapes_found = {name: shape for name, shape in named(NETS[0])[1].items() if not name.startswith("linear")}
    _, told = recognise(Found(shapes_found, "net.pth"))
    assert told.model == dataclasses.replace(NETS[0], num_classes=None)


PREFIXES = [
    "",
    "module.",
    "_orig_mod.",
    "model.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "net.",
    "backbone.",
    "a.b.c.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("model", [NETS[0], NETS[4]], ids=["cifar", "imagenet"])
def test_what_wrappers_put_before_names_is_found(prefix: str, model: ModelConfig) -> None:
    names = [prefix + name for name in named(model)[1]]
    assert wrapper_prefix([*names, "n_averaged", "criterion.weight"], "net.pth") == prefix


def test_of_several_nets_one_has_to_be_named() -> None:
    names = [f"{who}.{name}" for who in ("student", "teacher") for name in named(NETS[0])[1]]
    with pytest.raises(UserError, match=r"net\.pth: holds several nets; .*--from-key; legal: 'student', 'teacher'"):
        wrapper_prefix(names, "net.pth")
    assert wrapper_prefix(names, "net.pth", "teacher") == "teacher."
    with pytest.raises(UserError, match=r"from_key: got 'other'; legal for net\.pth: 'student', 'teacher'"):
        wrapper_prefix(names, "net.pth", "other")
    assert wrapper_prefix(["encoder.weight"], "net.pth") is None


def test_every_format_is_a_module_and_reads_what_it_writes() -> None:
    """A new format is a module with a FORMAT: it is found, and by its own names."""
    assert list(formats()) == ["akamaster", "huggingface", "timm", "torchvision"]
    for form in formats().values():
        model = NETS[0] if form.name == "akamaster" else NETS[4]
        assert form.net(Found(form.shapes(shapes(model, 3)), "net.pth")).model == model
    with pytest.raises(UserError, match="format: got 'tim'; did you mean 'timm'"):
        format_for(NETS[4], "tim")
