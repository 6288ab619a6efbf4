"""Shortcuts on CIFAR-10: zero padding (option A), projections where the shape changes (B), or everywhere (C).

    python -m experiments.prepare cifar10
    python -m experiments.sweep cifar10-options
    python -m experiments.report runs/cifar10-options

He et al. 2015 compare these options on ImageNet, with 34 layers (Sec. 4.1, Table 3: 25.03, 24.52 and 24.19 %). On
CIFAR-10 they use option A. He et al. 2016 (Table 1) have 12.22 % for option C, with 110 layers and another warm-up. So
only option A is compared with the papers' numbers. The recipe is from the 2015 paper (cifar.py).

Cost: a run costs as much as in cifar10-depth, and a tenth more for C. All 27 runs take 26 h of a GPU at 1e12
multiply-adds/s.
"""

from experiments.studies.cifar import RESNET, WARMUP
from experiments.study import GPU, StatedCost, Study, grid

OPTIONS = ("A", "B", "C")

STUDIES = (
    Study(
        name="cifar10-options",
        base=RESNET,
        variants=(
            *grid(model__depth=(20, 56), model__shortcut=OPTIONS),
            *({**net, **WARMUP} for net in grid(model__depth=(110,), model__shortcut=OPTIONS)),
        ),
        seeds=(0, 1, 2),
        cost=StatedCost(9.44e16 / 1e12, GPU),
    ),
)
