"""Full pre-activation against the original block on CIFAR-100, 164 and 1001 layers (He et al. 2016, Table 3).

    python -m experiments.prepare cifar100
    python -m experiments.sweep cifar100-preactivation
    python -m experiments.report runs/cifar100-preactivation

All nets have bottleneck blocks. The recipe is the paper's (cifar.py).

Cost: a run has 6.0e15 multiply-adds with 164 layers, and 3.7e16 with 1001 layers (in the paper "about 27 hours on 2
GPUs"). All 12 runs take 3.0 days of a GPU at 1e12 multiply-adds/s.
"""

from experiments.studies.cifar import BOTTLENECK_164, BOTTLENECK_1001, RESNET, WARMUP_2016
from experiments.study import GPU, StatedCost, Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="cifar100-preactivation",
        base=override(RESNET, {"data.name": "cifar100", "model.shortcut": "identity", **WARMUP_2016}),
        variants=tuple(
            {**net, **order}
            for net in (BOTTLENECK_164, BOTTLENECK_1001)
            for order in grid(model__activation_order=("original", "full_preactivation"))
        ),
        seeds=(0, 1, 2),
        cost=StatedCost(2.55e17 / 1e12, GPU),
    ),
)
