"""Degradation versus depth on CIFAR-100: plain and residual nets of 20 to 110 layers, with CIFAR-10's recipe.

    python -m experiments.prepare cifar100
    python -m experiments.sweep cifar100-depth
    python -m experiments.report runs/cifar100-depth

The papers have no CIFAR-100 errors for these nets. For a bottleneck net of 164 layers, He et al. 2016 (Table 3) have
25.16 %.

Cost: a run costs as much as in cifar10-depth; all 30 runs take 24 h of a GPU at 1e12 multiply-adds/s.
"""

from experiments.studies.cifar import RESNET, WARMUP
from experiments.study import GPU, StatedCost, Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="cifar100-depth",
        base=override(RESNET, {"data.name": "cifar100"}),
        variants=(
            *grid(model__depth=(20, 32, 44, 56), model__shortcut=("none", "A")),
            *({**net, **WARMUP} for net in grid(model__depth=(110,), model__shortcut=("none", "A"))),
        ),
        seeds=(0, 1, 2),
        cost=StatedCost(8.63e16 / 1e12, GPU),
    ),
)
