"""The formulas against the traced program, the compiler and the papers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import ExperimentConfig, ModelConfig, override
from resnet_jax.models import cost
from resnet_jax.models.resnet import build
from tests.models.test_resnet import shapes

NETS = [
    ModelConfig(depth=20, num_classes=10),
    ModelConfig(depth=20, shortcut="none", num_classes=10),
    ModelConfig(depth=14, shortcut="B", width=5, num_classes=7),
    ModelConfig(depth=14, shortcut="C", activation_order="full_preactivation", num_classes=10),
    ModelConfig(depth=29, block="bottleneck", shortcut="B", num_classes=10),
    ModelConfig(depth=29, block="bottleneck", shortcut="B", activation_order="full_preactivation", num_classes=10),
    ModelConfig(depth=20, block="bottleneck", shortcut="B", bottleneck_stride="3x3", num_classes=10),
    ModelConfig(family="imagenet", depth=34, shortcut="A", num_classes=1000),
    ModelConfig(family="imagenet", depth=50, shortcut="B", num_classes=1000),
    ModelConfig(family="imagenet", depth=50, shortcut="B", bottleneck_stride="3x3", num_classes=1000),
    ModelConfig(family="imagenet", depth=50, shortcut="B", activation_order="full_preactivation", num_classes=1000),
    ModelConfig(depth=14, shortcut="exclusive_gate", activation_order="bn_after_addition", num_classes=10),
    ModelConfig(
        depth=20,
        block="bottleneck",
        shortcut="shortcut_gate",
        activation_order="relu_only_preactivation",
        num_classes=10,
    ),
    ModelConfig(depth=20, block="bottleneck", shortcut="identity", cut=("stage2",), skip_init=0.5, num_classes=10),
    ModelConfig(depth=14, widen=3, activation_order="relu_before_addition", num_classes=10),
    ModelConfig(family="imagenet", depth=18, activation_order="relu_only_preactivation", num_classes=10),
]
name = lambda c: f"{c.family}-{c.net}-{c.depth}-{c.block_kind}-{c.bottleneck_stride}"  # noqa: E731


@pytest.mark.parametrize("config", NETS, ids=name)
@pytest.mark.parametrize("size", [32, 33])
def test_layers_equal_the_traced_program(config: ModelConfig, size: int) -> None:
    images = jnp.zeros((1, size, size, 3))
    model = build(config)
    variables = jax.eval_shape(lambda key: model.init(key, images, train=False), jax.random.key(0))
    jaxpr = jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, images)
    products = []
    for e in jaxpr.jaxpr.eqns:
        if e.primitive.name in ("conv2d", "dot_general"):
            weights, out = e.invars[1].aval.shape, e.outvars[0].aval.shape
            # Each output takes one multiply-add per weight of its channel.
            products.append(int(np.prod(out)) * int(np.prod(weights[:-1])))
    rows = cost.layers(config, (size, size, 3))
    assert sorted(row.multiply_adds for row in rows if row.multiply_adds) == sorted(products)
    by_layer: dict[str, int] = {}
    for full, shape in shapes(config, size).items():
        layer = full.rsplit("/", 1)[0]
        by_layer[layer] = by_layer.get(layer, 0) + int(np.prod(shape))
    assert {row.name: row.parameters for row in rows} == by_layer


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 2), (7, 2)])
def test_a_convolution_equals_the_compilers_count(kernel: int, stride: int) -> None:
    # The compiler leaves out taps on the padding, so it is given an image that was padded before.
    row = cost._conv("conv", (16, 16, 3), 8, kernel, stride)
    x = jnp.zeros((1, 16 + kernel - 1, 16 + kernel - 1, 3))
    w = jnp.zeros((kernel, kernel, 3, 8))
    conv: Any = lambda x, w: jax.lax.conv_general_dilated(  # noqa: E731
        x, w, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    compiled = jax.jit(conv).lower(x, w).compile()
    assert compiled.cost_analysis()["flops"] == 2 * row.multiply_adds
    assert jax.eval_shape(conv, x, w).shape[1:] == row.output


# He et al. 2015: CIFAR nets by hand from Sec. 4.2; ImageNet nets as Table 1 rounds them.
@pytest.mark.parametrize(("depth", "millions"), [(20, 40.6), (32, 68.9), (44, 97.2), (56, 125.5), (110, 252.9)])
def test_cifar_multiply_adds(depth: int, millions: float) -> None:
    total = cost.total(ModelConfig(depth=depth, num_classes=10), (32, 32, 3)).multiply_adds
    assert round(total / 1e6, 1) == pytest.approx(millions, abs=0.1001)  # the last digit's rounding


@pytest.mark.parametrize(
    ("depth", "shortcut", "stride", "billions"),
    [
        (18, "A", "1x1", 1.8),
        (34, "A", "1x1", 3.6),
        (50, "B", "1x1", 3.86),
        (101, "B", "1x1", 7.6),
        (152, "B", "1x1", 11.3),
        (50, "B", "3x3", 4.09),
    ],
)
def test_imagenet_multiply_adds(depth: int, shortcut: Any, stride: Any, billions: float) -> None:
    config = ModelConfig(family="imagenet", depth=depth, shortcut=shortcut, bottleneck_stride=stride, num_classes=1000)
    total = cost.total(config, (224, 224, 3)).multiply_adds
    assert total / 1e9 == pytest.approx(billions, abs=0.06 if billions not in (3.86, 4.09) else 0.006)


def test_stages_sum_to_the_whole() -> None:
    config = ModelConfig(depth=56, num_classes=10)
    rows, total = cost.stages(config, (32, 32, 3)), cost.total(config, (32, 32, 3))
    assert [row.name for row in rows] == ["stem", "stage1 (9 blocks)", "stage2 (9 blocks)", "stage3 (9 blocks)", "head"]
    assert [row.output for row in rows[:4]] == [(32, 32, 16), (32, 32, 16), (16, 16, 32), (8, 8, 64)]
    assert sum(row.parameters for row in rows) == total.parameters == 853_018
    assert sum(row.multiply_adds for row in rows) == total.multiply_adds


SMALL = override(
    ExperimentConfig(),
    {"model.depth": 8, "model.width": 2, "model.num_classes": 3, "train.batch_size": 32},
)


def test_memory_by_hand() -> None:
    """An 8-layer net on images of 8x8x1, whose numbers fit on a page."""
    # Convs 3x3: 1-2, then 2-2 2-2, 2-4 4-4, 4-8 8-8; a scale and a bias for each of their channels; the head 8-3.
    parameters = (18 + 4) + (36 + 36 + 8) + (72 + 144 + 16) + (288 + 576 + 32) + (24 + 3)
    # Inputs of conv, BN, conv, BN in each block; before them the stem's, after them the head's.
    stem, head = 64 + 128, 32
    blocks = (128 + 128 + 128 + 128, 128 + 64 + 64 + 64, 64 + 32 + 32 + 32)
    found = cost.memory(SMALL, (8, 8, 1))
    assert found.images == 32
    assert found.parameters == found.gradients == found.optimizer == 4 * parameters == 5028
    assert found.activations == 4 * 32 * (stem + sum(blocks) + head) == 4 * 32 * 1216
    assert found.total == 3 * 5028 + 4 * 32 * 1216

    # With remat: each block's input (128, 128, 64), and the rest of the largest block.
    with_remat = cost.memory(override(SMALL, {"model.remat": True}), (8, 8, 1))
    assert with_remat.activations == 4 * 32 * (stem + head + (128 + 128 + 64) + (512 - 128))

    # Two devices, two parts, bfloat16: 8 images of 2 bytes a number, and two sets of gradients.
    changes = {"parallel.devices": 2, "train.accumulation": 2, "model.dtype": "bfloat16"}
    shared = cost.memory(override(SMALL, changes), (8, 8, 1))
    assert (shared.images, shared.activations) == (8, 2 * 8 * 1216)
    assert (shared.parameters, shared.gradients, shared.optimizer) == (5028, 2 * 5028, 5028)
    double = cost.memory(override(SMALL, {"model.dtype": "float64"}), (8, 8, 1))
    assert double.total == 2 * found.total


@pytest.mark.parametrize("config", [c for c in NETS if c.shortcut in ("A", "none")], ids=name)
def test_what_is_kept_is_the_input_of_every_convolution(config: ModelConfig) -> None:
    images = jnp.zeros((1, 32, 32, 3))
    model = build(config)
    variables = jax.eval_shape(lambda key: model.init(key, images, train=False), jax.random.key(0))
    jaxpr = jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, images)
    inputs = [e.invars[0].aval.size for e in jaxpr.jaxpr.eqns if e.primitive.name == "conv2d"]
    rows = cost.layers(config, (32, 32, 3))
    assert [row.kept for row in rows if "conv" in row.name] == inputs


def test_activations_of_the_50_layer_net() -> None:
    # Radosavovic et al. 2020 (arXiv 2003.13678) count 11.1 million outputs of convolutions, each the input of a BN.
    config = ModelConfig(family="imagenet", depth=50, shortcut="B", bottleneck_stride="3x3", num_classes=1000)
    rows = [row for row in cost.layers(config, (224, 224, 3)) if "norm" in row.name]
    assert rows[0].kept == 2 * 112 * 112 * 64  # the stem's BN and the max-pool
    assert sum(row.kept for row in rows) - rows[0].kept // 2 == pytest.approx(11.1e6, abs=0.05e6)
