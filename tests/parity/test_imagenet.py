"""ResNet-18 to 152, 64 channels wide, with 1000 classes, against PyTorch, from random values.

The stages are scanned: written out, compiling forward and backward passes of 152 layers takes minutes; as a loop over
the blocks of a stage, as long as a shallow net's. That both compute the same is tests/models/test_stacking.py's to
show, and test_forward.py compares nets that are written out. Images of 64 pixels keep the arithmetic to seconds.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
import torch
from torch import nn

from experiments.benchmark.peers.torch_resnet import TorchResNet
from resnet_jax.config import IMAGENET_STAGES, ModelConfig
from resnet_jax.models.resnet import build
from resnet_jax.models.stacking import stack, unstack
from resnet_jax.training.losses import cross_entropy
from tests.parity.conftest import Comparison
from tests.parity.convert import Flat, flatten, random_values, to_flax, twin, unflatten

SIZE = 64


def net(depth: int, dtype: Any) -> ModelConfig:
    # With projections where the shape changes, as torchvision's nets have; other shortcuts are test_forward.py's.
    return ModelConfig(family="imagenet", depth=depth, shortcut="B", num_classes=1000, dtype=dtype)


def images_for(config: ModelConfig, batch: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(batch, SIZE, SIZE, 3)).astype(config.dtype)


def as_torch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def scanned_variables(config: ModelConfig, flat: Flat) -> dict[str, Any]:
    params, batch_stats = unflatten(flat)
    return {"params": stack(params, config), "batch_stats": stack(batch_stats, config)}


@pytest.mark.parametrize("depth", IMAGENET_STAGES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-10)])
def test_logits_in_eval_mode(depth: int, dtype: Any, tolerance: float, comparison: Comparison) -> None:
    with jax.enable_x64(dtype == "float64"):
        config = net(depth, dtype)
        flat, images = random_values(config, (SIZE, SIZE, 3)), images_for(config, batch=2)
        model = build(config).clone(scanned=True)
        evaluate = jax.jit(lambda variables, images: model.apply(variables, images, train=False))
        logits = evaluate(scanned_variables(config, flat), images)
        with torch.no_grad():
            theirs = twin(config, 3, flat).eval()(as_torch(images)).numpy()
        assert logits.dtype == theirs.dtype == dtype
        comparison.check("logits", logits, theirs, tolerance)


def expect_statistics(net: TorchResNet, start: Flat) -> Flat:
    """Hooks that fill the result with running statistics, from what goes into each of PyTorch's BNs.

    Computed here and not read from PyTorch, which keeps the unbiased variance.
    """
    expected: Flat = {}

    def see(name: str, inputs: tuple[torch.Tensor]) -> None:
        x = inputs[0].detach()
        batch = {"running_mean": x.mean((0, 2, 3)), "running_var": x.var((0, 2, 3), correction=0)}
        for leaf, value in to_flax({f"{name}.{kind}": value for kind, value in batch.items()}).items():
            expected[leaf] = 0.9 * start[leaf] + 0.1 * value

    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, inputs, name=name: see(name, inputs))
    return expected


@pytest.mark.usefixtures("x64")
# Each kind of block, and the deepest net; 34 and 101 layers have the same blocks, and are compared in eval mode above.
@pytest.mark.parametrize("depth", [18, 50, 152])
def test_statistics_and_gradients_in_train_mode(depth: int, comparison: Comparison) -> None:
    # Nothing depends on the width; at 16 of 64 channels a backward pass of 152 layers takes seconds.
    config = dataclasses.replace(net(depth, "float64"), width=16)
    flat, images = random_values(config, (SIZE, SIZE, 3)), images_for(config, batch=4)
    labels = np.random.default_rng(2).integers(0, config.num_classes, len(images), np.int32)
    model = build(config).clone(scanned=True)

    def loss_of(params: Any, batch_stats: Any, images: Any, labels: Any) -> Any:
        variables = {"params": params, "batch_stats": batch_stats}
        logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        return cross_entropy(logits, labels).mean(), (logits, updated["batch_stats"])

    start = scanned_variables(config, flat)
    step = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    (loss, (logits, batch_stats)), grads = jax.device_get(step(start["params"], start["batch_stats"], images, labels))

    theirs = twin(config, 3, flat).train()
    expected = expect_statistics(theirs, flat)
    their_logits = theirs(as_torch(images))
    their_loss = nn.CrossEntropyLoss()(their_logits, torch.from_numpy(labels).long())
    their_loss.backward()

    comparison.check("loss", loss, their_loss.item(), 1e-8)
    comparison.check("logits", logits, their_logits.detach().numpy(), 1e-8)
    comparison.check("statistics", flatten(unstack(batch_stats, config)), expected, 1e-8)
    their_grads = to_flax({name: p.grad for name, p in theirs.named_parameters() if p.grad is not None})
    comparison.check("gradients", flatten(unstack(grads, config)), their_grads, 1e-8)
