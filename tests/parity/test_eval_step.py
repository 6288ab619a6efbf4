"""Weighted sums of the eval step on a batch that ends in padding."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from resnet_jax.config import DataConfig, ModelConfig
from resnet_jax.data import ArraySource, normalization
from resnet_jax.models.resnet import build
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import EvalBatch, eval_step
from tests.parity.conftest import Comparison
from tests.parity.convert import random_values, twin, unflatten

SHAPE, BATCH, REAL = (8, 8, 1), 16, 11


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
def test_loss_and_errors_of_the_real_examples(dtype: Any, tolerance: float, comparison: Comparison) -> None:
    with jax.enable_x64(dtype == "float64"):
        compare(ModelConfig(depth=8, dtype=dtype, num_classes=4), tolerance, comparison)


def compare(config: ModelConfig, tolerance: float, comparison: Comparison) -> None:
    images = np.random.default_rng(3).integers(0, 256, (BATCH, *SHAPE), np.uint8)
    weight = (np.arange(BATCH) < REAL).astype(np.float32)
    flat = random_values(config, SHAPE)

    net = twin(config, SHAPE[-1], flat).eval()
    real = images[:REAL] / 255.0
    x = torch.from_numpy((real - real.mean(axis=0)).transpose(0, 3, 1, 2).astype(config.dtype))
    with torch.no_grad():
        logits = net(x)
        # Every third answer is wrong.
        their_labels = (logits.argmax(1) + (torch.arange(REAL) % 3 == 0)) % 4
        loss = torch.nn.functional.cross_entropy(logits, their_labels, reduction="sum")
    errors = -(-REAL // 3)

    params, batch_stats = unflatten(flat)
    state = TrainState(jnp.zeros((), jnp.int32), params, batch_stats, ())
    stats = normalization(ArraySource(images[:REAL], np.zeros(REAL, np.int32)), DataConfig())
    evaluate = jax.jit(partial(eval_step, model=build(config), normalization=stats))
    labels = np.zeros(BATCH, np.int32)
    labels[:REAL] = their_labels.numpy()
    sums = evaluate(state, EvalBatch(images, labels, weight))
    comparison.check("loss", sums.loss, loss.item(), tolerance)
    assert int(sums.errors) == errors
    assert int(sums.examples) == REAL

    # Whatever stands in the padding.
    labels[REAL:], images[REAL:] = 3, 255
    for before, after in zip(sums, evaluate(state, EvalBatch(images, labels, weight)), strict=True):
        np.testing.assert_array_equal(before, after)
