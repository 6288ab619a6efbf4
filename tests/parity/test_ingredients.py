"""What the papers do not have, ours and PyTorch's, in float64: the optimizer with a cosine, and the losses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from resnet_jax.config import OptimConfig
from resnet_jax.training.losses import mixed_cross_entropy, smoothed_cross_entropy
from resnet_jax.training.optim import sgd

pytestmark = pytest.mark.usefixtures("x64")

STEPS = 8


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decayed", ["all", "kernels"])
@pytest.mark.parametrize("clip_norm", [None, 1.5])
def test_the_optimizer_with_a_cosine(nesterov: bool, decayed: Any, clip_norm: float | None) -> None:
    config = OptimConfig(weight_decay=0.05, nesterov=nesterov, decayed=decayed, clip_norm=clip_norm, schedule="cosine")
    rng = np.random.default_rng(0)
    params: Any = {"head": {"kernel": jnp.asarray(rng.normal(size=(4, 3))), "bias": jnp.asarray(rng.normal(size=3))}}
    kernel, bias = (torch.tensor(np.asarray(params["head"][name]), requires_grad=True) for name in ("kernel", "bias"))
    groups = [{"params": [kernel]}, {"params": [bias], "weight_decay": 0.05 if decayed == "all" else 0.0}]
    theirs = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.05, nesterov=nesterov)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=STEPS)
    ours = sgd(config, iterations=STEPS)
    state = ours.init(params)
    for step in range(STEPS):
        draw = {name: (3.0 if step % 2 else 0.3) * rng.normal(size=x.shape) for name, x in params["head"].items()}
        grads = {"head": {name: jnp.asarray(g) for name, g in draw.items()}}
        updates, state = ours.update(grads, state, params, error=jnp.asarray(0.5))
        params = jax.tree.map(jnp.add, params, updates)
        kernel.grad, bias.grad = torch.tensor(draw["kernel"]), torch.tensor(draw["bias"])
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([kernel, bias], clip_norm)
        theirs.step()
        schedule.step()
        # PyTorch adds 1e-6 to the norm before it divides by it.
        tolerance = 1e-12 if clip_norm is None else 1e-5
        np.testing.assert_allclose(params["head"]["kernel"], kernel.detach().numpy(), rtol=tolerance)
        np.testing.assert_allclose(params["head"]["bias"], bias.detach().numpy(), rtol=tolerance)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_the_losses_and_their_gradients(smoothing: float) -> None:
    rng = np.random.default_rng(1)
    logits, share = rng.normal(size=(6, 5)), rng.uniform(size=6)
    labels, others = (rng.integers(0, 5, 6).astype(np.int32) for _ in range(2))

    def compare(ours: Any, theirs: Any) -> None:
        z = torch.tensor(logits, requires_grad=True)
        loss = theirs(z)
        loss.sum().backward()
        value, gradient = ours(jnp.asarray(logits)), jax.grad(lambda x: ours(x).sum())(jnp.asarray(logits))
        np.testing.assert_allclose(value, loss.detach().numpy(), rtol=1e-12)
        assert z.grad is not None
        np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-10, atol=1e-14)

    def entropy(z: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(z, targets, reduction="none", label_smoothing=smoothing)

    own = torch.tensor(labels).long()
    compare(lambda z: smoothed_cross_entropy(z, jnp.asarray(labels), smoothing), lambda z: entropy(z, own))
    one_hot = np.eye(5)
    mixed = torch.tensor(share[:, None] * one_hot[labels] + (1.0 - share[:, None]) * one_hot[others])
    args = (jnp.asarray(labels), jnp.asarray(others), jnp.asarray(share), smoothing)
    compare(lambda z: mixed_cross_entropy(z, *args), lambda z: entropy(z, mixed))
