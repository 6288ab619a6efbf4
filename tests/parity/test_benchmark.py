"""The benchmark's PyTorch contestant takes our steps: the same losses from the same values."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.benchmark.contestants import Ours
from experiments.benchmark.spec import Spec, step_config
from experiments.benchmark.torch_contestant import Torch
from tests.parity.convert import flatten, to_torch

STEPS = 3
SPEC = Spec("step", "torch-eager", step_config("resnet-8", 4, "float32"))


def test_the_torch_contestant_takes_our_steps() -> None:
    ours, peer = Ours(SPEC), Torch(SPEC)
    initial = ours.program.assembly.initial
    start = flatten(initial.params, initial.batch_stats)
    peer.net.load_state_dict(to_torch(start), strict=True)
    losses = [(peer.run(), ours.run()) for _ in range(STEPS)]
    np.testing.assert_allclose(*np.transpose(losses), rtol=1e-4)
    assert len({loss for _, loss in losses}) == STEPS  # it learns: equal ones would say nothing


def test_the_torch_contestant_is_channels_last_throughout() -> None:
    """One layer that puts out another order makes its followers, and their gradients, slower."""
    peer = Torch(SPEC)
    seen = {}
    for name, module in peer.net.named_modules():
        if name:
            module.register_forward_hook(lambda module, inputs, out, name=name: seen.setdefault(name, out))
    peer.run()
    images = {name: out for name, out in seen.items() if out.ndim == 4}
    assert len(images) > 3 * 5
    assert [n for n, out in images.items() if not out.is_contiguous(memory_format=torch.channels_last)] == []


def test_in_eval_mode_too() -> None:
    ours, peer = Ours(replace(SPEC, phase="eval")), Torch(replace(SPEC, phase="eval"))
    initial = ours.program.assembly.initial
    peer.net.load_state_dict(to_torch(flatten(initial.params, initial.batch_stats)), strict=True)
    assert peer.run() == pytest.approx(ours.run(), rel=1e-5)
