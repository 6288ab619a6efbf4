"""Degradation versus depth on real 8x8 digits: plain and residual nets of 8, 20, 32 and 56 layers.

    python -m experiments.sweep digits-depth --jobs 2
    python -m experiments.report runs/digits-depth

He et al. 2015 ask in Fig. 1 and 6: does the training error rise when a plain net gets deeper, and does it stay low with
identity shortcuts? With option A, a plain net and a residual net have equal parameters and equal initial values.
digits.py defines the recipe.

Cost: all 40 runs take 8 min of one CPU core; half of that with --jobs 2 on two cores.
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
