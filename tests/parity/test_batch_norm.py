"""Which variance PyTorch keeps, and its momentum: formulas (13) and (16) of docs/derivation.md."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from resnet_jax.models.layers import BatchNorm, BatchStatsScope


@pytest.mark.usefixtures("x64")
def test_pytorch_normalises_by_the_biased_variance_and_keeps_the_unbiased_one() -> None:
    x = np.random.default_rng(0).normal(1.0, 2.0, size=(2, 3, 3, 4))
    m = 2 * 3 * 3
    theirs = torch.nn.BatchNorm2d(4, eps=1e-5, momentum=0.1, dtype=torch.float64)
    y = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).detach().numpy().transpose(0, 2, 3, 1)

    ours = BatchNorm(0.9, 1e-5, BatchStatsScope(), jnp.float64)
    start = {"params": {"scale": np.ones(4), "bias": np.zeros(4)}}
    start["batch_stats"] = {"mean": np.zeros(4), "var": np.ones(4)}
    our_y, updated = ours.apply(start, x, train=True, mutable=["batch_stats"])
    stats = updated["batch_stats"]

    biased = x.var(axis=(0, 1, 2))
    np.testing.assert_allclose(our_y, y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(stats["mean"], theirs.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * biased, rtol=1e-12)
    np.testing.assert_allclose(theirs.running_var.numpy(), 0.9 + 0.1 * m / (m - 1) * biased, rtol=1e-12)
