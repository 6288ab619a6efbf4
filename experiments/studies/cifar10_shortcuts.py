"""Eleven kinds of shortcuts in ResNet-110 on CIFAR-10, such as scaled or gated ones (He et al. 2016, Table 1).

    python -m experiments.prepare cifar10
    python -m experiments.sweep cifar10-shortcuts
    python -m experiments.report runs/cifar10-shortcuts

All blocks of a net have the same kind of shortcut. resnet_jax/models/shortcuts.py says what these shortcuts do in
blocks that change the shape of their input. The recipe is the paper's (cifar.py). The paper's line for exclusive gating
has initial biases b_g from 0 to -5; this study runs b_g = 0.

Cost: a run has 6.2e15 multiply-adds, or 6.6e15 with gates or 1x1 convolutions. All 55 runs, with the paper's five
seeds, take 4.1 days of a GPU at 1e12 multiply-adds/s.
"""

from experiments.studies.cifar import RESNET, WARMUP_2016
from experiments.study import GPU, StatedCost, Study
from resnet_jax.config import override

TABLE_1 = (
    {"model.shortcut": "identity"},  # original: 1 on the shortcut, 1 on F
    {"model.shortcut": "none"},  # constant scaling 0, 1: "This is a plain net"
    {"model.shortcut": "scale", "model.shortcut_scale": 0.5},
    {"model.shortcut": "scale", "model.shortcut_scale": 0.5, "model.residual_scale": 0.5},  # "frozen gating"
    {"model.shortcut": "exclusive_gate", "model.gate_bias": 0.0},  # "init b_g = 0 to -5"
    {"model.shortcut": "exclusive_gate", "model.gate_bias": -6.0},
    {"model.shortcut": "exclusive_gate", "model.gate_bias": -7.0},
    {"model.shortcut": "shortcut_gate", "model.gate_bias": 0.0},
    {"model.shortcut": "shortcut_gate", "model.gate_bias": -6.0},
    {"model.shortcut": "C"},  # "1x1 convolutional shortcut [...] (known as option C)"
    {"model.shortcut": "dropout", "model.shortcut_dropout": 0.5},
)

STUDIES = (
    Study(
        name="cifar10-shortcuts",
        base=override(RESNET, {"model.depth": 110, **WARMUP_2016}),
        variants=TABLE_1,
        seeds=(0, 1, 2, 3, 4),  # the paper reports medians of five runs
        cost=StatedCost(3.52e17 / 1e12, GPU),
    ),
)
