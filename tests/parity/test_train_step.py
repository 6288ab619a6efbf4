"""Three whole train steps, ours and PyTorch's, in float64: each number that a step makes, by name."""

import copy
import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn

from experiments.benchmark.peers.torch_resnet import TorchResNet
from resnet_jax.config import DataConfig, ModelConfig, OptimConfig
from resnet_jax.data import ArraySource, normalization
from resnet_jax.data.augment import normalize
from resnet_jax.models.resnet import build
from resnet_jax.training import optim
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import TrainBatch, train_step
from tests.parity.conftest import Comparison
from tests.parity.convert import Flat, flatten, random_values, to_flax, to_torch, twin, unflatten
from tests.parity.nets import CIFAR_NETS, name

pytestmark = pytest.mark.usefixtures("x64")

# Float64 rounds at 1e-16; 20 layers and three steps make of that some 1e-14, in the plain net 1e-13. Another formula is
# far off: epsilon outside the root moves the loss by 2e-6, biases without weight decay their momentum by 2e-4.
TOLERANCE = 1e-8
STEPS, BATCH, SHAPE = 3, 8, (12, 10, 3)  # 12x10, 6x5, 3x3: even and odd sizes meet a stride of 2

# Every case has a rate of its own for each step; the right-hand side is by hand.
MILESTONES = OptimConfig(learning_rate=0.05, milestones=(1, 2), decay_factor=0.5), (0.05, 0.025, 0.0125)
WARMUP = (
    OptimConfig(learning_rate=0.1, milestones=(2,), warmup="iterations", warmup_iterations=1, warmup_rate=0.01),
    (0.01, 0.1, 0.01),
)
PIXEL, CHANNEL = DataConfig(normalize="pixel_mean"), DataConfig(normalize="channel_mean_std")
CASES = [(net, MILESTONES, PIXEL) for net in CIFAR_NETS]
CASES[1] = (CASES[1][0], WARMUP, PIXEL)
CASES[3] = (CASES[3][0], WARMUP, CHANNEL)


def recording(inner: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    """`inner`, with the gradients it was given in front of its state: the step's own, not computed a second time."""

    def init(params: Any) -> Any:
        return (jax.tree.map(jnp.zeros_like, params), *inner.init(params))

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        updates, new = inner.update(grads, state[1:], params, **extra)
        return updates, (grads, *new)

    return optax.GradientTransformationExtraArgs(init, update)


class TorchTrainer:
    """The same three steps by PyTorch's own optimizer, loss and batch norm."""

    def __init__(self, net: TorchResNet, start: Flat) -> None:
        self.net, self.start, self.steps = net, start, 0
        self.optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-4)
        self.values_per_channel: dict[str, int] = {}
        for module_name, module in net.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_pre_hook(partial(self._count, module_name))

    def _count(self, module_name: str, module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        n, _, h, w = inputs[0].shape
        self.values_per_channel[f"{module_name}.running_var"] = n * h * w

    def step(self, images: torch.Tensor, labels: torch.Tensor, rate: float) -> tuple[torch.Tensor, float]:
        """Logits and loss in train mode, before the update."""
        self.net.train()
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        logits = self.net(images)
        loss = nn.CrossEntropyLoss()(logits, labels)
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return logits.detach(), loss.item()

    def parameters(self) -> Flat:
        return to_flax(self.net.named_parameters())

    def gradients(self) -> Flat:
        return to_flax({n: p.grad for n, p in self.net.named_parameters() if p.grad is not None})

    def momentum(self) -> Flat:
        return to_flax({n: self.optimizer.state[p]["momentum_buffer"] for n, p in self.net.named_parameters()})

    def statistics(self) -> Flat:
        """Running means, and running variances converted from PyTorch's unbiased ones to biased ones.

        From the same start r, with batch variances v_s (biased) of m values each, after t steps

            PyTorch:  r 0.9^t + m / (m - 1) S        ours:  r 0.9^t + S        S = 0.1 sum_s 0.9^(t-s) v_s

        so the start's share is taken out, the rest scaled by (m - 1) / m, and the share put back. This is exact, and
        uses nothing of PyTorch but the result: normalising itself uses the biased variance in both.
        """
        start_share = 0.9**self.steps
        flat = to_flax(self.net.named_buffers())
        for name_, m in self.values_per_channel.items():
            (ours,) = to_flax({name_: torch.zeros(1)})  # the name alone
            kept = start_share * self.start[ours]
            flat[ours] = kept + (flat[ours] - kept) * (m - 1) / m
        return flat

    def evaluate(self, images: torch.Tensor) -> torch.Tensor:
        """Logits in eval mode, with the converted variances, which ours are to be compared with."""
        net = copy.deepcopy(self.net).eval()
        net.load_state_dict(to_torch({**self.parameters(), **self.statistics()}), strict=True)
        with torch.no_grad():
            return net(images)


def by_hand(images: np.ndarray, training_set: np.ndarray, data: DataConfig) -> torch.Tensor:
    """Normalised images, NCHW."""
    x, reference = images / 255.0, training_set / 255.0
    if data.normalize == "pixel_mean":
        x = x - reference.mean(axis=0)
    else:
        x = (x - reference.mean(axis=(0, 1, 2))) / reference.std(axis=(0, 1, 2))
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize(("config", "schedule", "data"), CASES, ids=[name(net) for net, *_ in CASES])
def test_three_train_steps(
    config: ModelConfig, schedule: tuple[OptimConfig, tuple[float, ...]], data: DataConfig, comparison: Comparison
) -> None:
    config = dataclasses.replace(config, dtype="float64")
    optim_config, rates = schedule
    assert (optim_config.momentum, optim_config.weight_decay) == (0.9, 1e-4)
    check = partial(comparison.check, tolerance=TOLERANCE)

    rng = np.random.default_rng(2)
    training_set = rng.integers(0, 256, (STEPS * BATCH, *SHAPE), np.uint8)
    all_labels = rng.integers(0, 10, STEPS * BATCH, np.int32)
    flat = random_values(config, SHAPE)

    model, optimizer = build(config), recording(optim.sgd(optim_config))
    stats = normalization(ArraySource(training_set, np.zeros(len(training_set), np.int32)), data)
    params, batch_stats = unflatten(flat)
    state = TrainState(jnp.zeros((), jnp.int32), params, batch_stats, optimizer.init(params))

    def logits(state: TrainState, images: jax.Array, *, train: bool) -> jax.Array:
        x = normalize(images, jnp.asarray(stats.mean), jnp.asarray(stats.std))
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return model.apply(variables, x, train=train, mutable=["batch_stats"])[0]

    @jax.jit
    def step(state: TrainState, batch: TrainBatch, key: jax.Array) -> Any:
        """The step, and the logits before (train mode) and after it (eval mode).

        The step keeps its logits to itself; the compiler makes one of its forward pass and the one here.
        """
        new, report = train_step(state, batch, key, model=model, optimizer=optimizer, normalization=stats, data=data)
        return new, report, logits(state, batch.images, train=True), logits(new, batch.images, train=False)

    trainer = TorchTrainer(twin(config, SHAPE[-1], flat), flat)
    for t in range(STEPS):
        these = slice(t * BATCH, (t + 1) * BATCH)
        images, labels = training_set[these], all_labels[these]
        index = np.arange(these.start, these.stop, dtype=np.int32)

        batch = TrainBatch(images, labels, np.zeros_like(index), index)
        state, report, logits_before, logits_after = step(state, batch, jax.random.key(0))
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves((state.params, state.batch_stats, report)))

        their_images = by_hand(images, training_set, data)
        their_logits, their_loss = trainer.step(their_images, torch.from_numpy(labels).long(), rates[t])

        check("rate", report.rate, rates[t])
        check("loss", report.sums.loss / report.sums.examples, their_loss)
        check("logits (train)", logits_before, their_logits.numpy())
        assert int(report.sums.errors) == int((their_logits.argmax(1).numpy() != labels).sum())
        check("gradients", flatten(state.opt_state[0]), trainer.gradients())
        (trace,) = (s.trace for s in state.opt_state if isinstance(s, optax.TraceState))
        check("momentum", flatten(trace), trainer.momentum())
        check("parameters", flatten(state.params), trainer.parameters())
        check("statistics", flatten(state.batch_stats), trainer.statistics())
        # After the update, on the same images: parameters and statistics together.
        check("logits (eval)", logits_after, trainer.evaluate(their_images).numpy())
    assert int(state.step) == STEPS
