"""Logits and loss of single forward passes, in both modes, from random parameters and statistics."""

from typing import Any

import jax
import numpy as np
import pytest
import torch

from resnet_jax.config import ModelConfig
from resnet_jax.models.resnet import build
from resnet_jax.training.losses import cross_entropy
from tests.parity.conftest import Comparison
from tests.parity.convert import random_values, twin, unflatten
from tests.parity.nets import CIFAR_NETS, name

MORE_CIFAR_NETS = [
    ModelConfig(shortcut="none", activation_order="full_preactivation", num_classes=10),
    ModelConfig(shortcut="C", activation_order="full_preactivation", num_classes=10),
    # Here the first unit's identity widens the channels, too.
    ModelConfig(block="bottleneck", shortcut="A", activation_order="full_preactivation", num_classes=10),
]
# Variants, most at less than Table 1's 64 channels: no structure depends on the width, and the suite stays quick. The
# paper's own nets, all depths, are test_imagenet.py's.
IMAGENET_NETS = [
    ModelConfig(family="imagenet", depth=18, shortcut="A", width=32, num_classes=100),
    ModelConfig(family="imagenet", depth=34, shortcut="A", width=16, num_classes=100),
    ModelConfig(family="imagenet", depth=34, shortcut="none", width=16, num_classes=100),
    ModelConfig(family="imagenet", depth=34, shortcut="C", width=16, num_classes=100),
    ModelConfig(family="imagenet", depth=50, shortcut="B", width=32, num_classes=100),
    ModelConfig(family="imagenet", depth=50, shortcut="B", bottleneck_stride="3x3", width=32, num_classes=100),
    ModelConfig(
        family="imagenet", depth=18, shortcut="A", activation_order="full_preactivation", width=16, num_classes=100
    ),
    ModelConfig(
        family="imagenet", depth=50, shortcut="B", activation_order="full_preactivation", width=32, num_classes=100
    ),
]


def both(config: ModelConfig, size: tuple[int, int], batch: int, modes: tuple[bool, ...]) -> Any:
    """For each mode (train or not): its name, our logits and losses, and PyTorch's."""
    flat = random_values(config, (*size, 3))
    params, batch_stats = unflatten(flat)
    rng = np.random.default_rng(1)
    images = rng.normal(size=(batch, *size, 3)).astype(config.dtype)
    labels = rng.integers(0, config.num_classes, batch, np.int32)
    model = build(config)

    @jax.jit
    def ours(images: jax.Array, labels: jax.Array) -> Any:
        out = {}
        for train in modes:
            variables = {"params": params, "batch_stats": batch_stats}
            logits, _ = model.apply(variables, images, train=train, mutable=["batch_stats"])
            out[train] = logits, cross_entropy(logits, labels)
        return out

    mine = ours(images, labels)
    net = twin(config, 3, flat)
    for train in modes:
        net.train(train)
        with torch.no_grad():
            logits = net(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
            losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels).long(), reduction="none")
        yield ("train" if train else "eval"), mine[train], (logits.numpy(), losses.numpy())


@pytest.mark.parametrize("config", [*CIFAR_NETS, *MORE_CIFAR_NETS], ids=name)
def test_cifar_nets_in_float32(config: ModelConfig, comparison: Comparison) -> None:
    # eval before train mode: PyTorch's train mode moves the running statistics.
    for mode, ours, theirs in both(config, (12, 10), 8, (False, True)):
        assert ours[0].dtype == theirs[0].dtype == np.float32
        for kind, a, b in zip(("logits", "losses"), ours, theirs, strict=True):
            # Rounding, 6e-8, grows through 20 layers; 1e-4 is far below what any other reading of the paper gives.
            comparison.check(f"{mode} {kind}", a, b, 1e-4)
        comparison.check(f"{mode} mean loss", ours[1].mean(), theirs[1].mean(), 1e-4)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("config", IMAGENET_NETS, ids=name)
def test_imagenet_nets_in_float64(config: ModelConfig, comparison: Comparison) -> None:
    config = ModelConfig(**{**vars(config), "dtype": "float64"})
    for mode, ours, theirs in both(config, (64, 64), 2, (False,)):
        for kind, a, b in zip(("logits", "losses"), ours, theirs, strict=True):
            comparison.check(f"{mode} {kind}", a, b, 1e-10)
