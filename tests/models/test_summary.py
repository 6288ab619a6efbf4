"""The formulas against the traced program, the compiler and the papers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import ModelConfig
from resnet_jax.models import summary
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
        if e.primitive.name in ("conv_general_dilated", "dot_general"):
            weights, out = e.invars[1].aval.shape, e.outvars[0].aval.shape
            # Each output takes one multiply-add per weight of its channel.
            products.append(int(np.prod(out)) * int(np.prod(weights[:-1])))
    rows = summary.layers(config, (size, size, 3))
    assert sorted(row.multiply_adds for row in rows if row.multiply_adds) == sorted(products)
    by_layer: dict[str, int] = {}
    for full, shape in shapes(config, size).items():
        layer = full.rsplit("/", 1)[0]
        by_layer[layer] = by_layer.get(layer, 0) + int(np.prod(shape))
    assert {row.name: row.parameters for row in rows} == by_layer


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 2), (7, 2)])
def test_a_convolution_equals_the_compilers_count(kernel: int, stride: int) -> None:
    # The compiler leaves out taps on the padding, so it is given an image that was padded before.
    row = summary._conv("conv", (16, 16, 3), 8, kernel, stride)
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
    total = summary.total(ModelConfig(depth=depth, num_classes=10), (32, 32, 3)).multiply_adds
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
    total = summary.total(config, (224, 224, 3)).multiply_adds
    assert total / 1e9 == pytest.approx(billions, abs=0.06 if billions not in (3.86, 4.09) else 0.006)


def test_stages_sum_to_the_whole() -> None:
    config = ModelConfig(depth=56, num_classes=10)
    rows, total = summary.stages(config, (32, 32, 3)), summary.total(config, (32, 32, 3))
    assert [row.name for row in rows] == ["stem", "stage1 (9 blocks)", "stage2 (9 blocks)", "stage3 (9 blocks)", "head"]
    assert [row.output for row in rows[:4]] == [(32, 32, 16), (32, 32, 16), (16, 16, 32), (8, 8, 64)]
    assert sum(row.parameters for row in rows) == total.parameters == 853_018
    assert sum(row.multiply_adds for row in rows) == total.multiply_adds
