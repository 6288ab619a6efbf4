"""Degradation versus depth on real 8x8 digits: plain and residual nets of 8, 20, 32 and 56 layers.

    python -m experiments.sweep digits-depth --jobs 2
    python -m experiments.report runs/digits-depth

The question of He et al. 2015, Fig. 1 and 6, in minutes: does the training error rise when a plain net gets deeper, and
does it stay low with identity shortcuts? Option A gives equal parameters and equal initial values.

The recipe is that in digits.py.

Cost: 8 min of one CPU core for all 40 runs; half of that with --jobs 2 on two cores.
"""

from experiments.studies.digits import RESNET
from experiments.study import CORE, StatedCost, Study, grid

STUDIES = (
    Study(
        name="digits-depth",
        base=RESNET,
        variants=grid(model__depth=(8, 20, 32, 56), model__shortcut=("none", "A")),
        seeds=(0, 1, 2, 3, 4),
        cost=StatedCost(8 * 60, CORE),
        control="digits-depth-long",
    ),
)
