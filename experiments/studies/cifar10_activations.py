"""Five orders of BN, ReLU and weights in nets of 110 and 164 layers on CIFAR-10 (He et al. 2016, Table 2 and Fig. 4).

    python -m experiments.prepare cifar10
    python -m experiments.sweep cifar10-activations
    python -m experiments.report runs/cifar10-activations

The nets of 110 layers have basic blocks, and the nets of 164 layers have bottleneck blocks. The recipe is the paper's
(cifar.py).

Cost: a run has 6.2e15 multiply-adds with 110 layers, and 6.0e15 with 164 layers. All 50 runs, with the paper's five
seeds, take 3.5 days of a GPU at 1e12 multiply-adds/s.
"""

from experiments.studies.cifar import BOTTLENECK_164, RESNET, WARMUP_2016
from experiments.study import GPU, StatedCost, Study, grid
from resnet_jax.config import override

TABLE_2 = (
    "original",  # Fig. 4a
    "bn_after_addition",  # Fig. 4b
    "relu_before_addition",  # Fig. 4c
    "relu_only_preactivation",  # Fig. 4d
    "full_preactivation",  # Fig. 4e
)

STUDIES = (
    Study(
        name="cifar10-activations",
        base=override(RESNET, {"model.shortcut": "identity", **WARMUP_2016}),
        variants=tuple(
            {**net, **order}
            for net in ({"model.depth": 110}, BOTTLENECK_164)
            for order in grid(model__activation_order=TABLE_2)
        ),
        seeds=(0, 1, 2, 3, 4),  # the paper reports medians of five runs
        cost=StatedCost(3.06e17 / 1e12, GPU),
    ),
)
