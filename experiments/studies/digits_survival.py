"""Stochastic depth in a ResNet-56 on real 8x8 digits: which survival probability is best?

    python -m experiments.sweep digits-survival
    python -m experiments.report runs/digits-survival

The survival probability falls linearly with depth, and the study varies its value in the last block (Huang et al. 2016,
Sec. 3, use 0.5). The value 1 turns stochastic depth off. digits_shortcuts.py defines the recipe and the 8 channels in
the first stage.

Cost: all 15 runs take 5 min of one CPU core.
"""

from experiments.studies.digits_shortcuts import DIGITS_56
from experiments.study import CORE, StatedCost, Study, grid

STUDIES = (
    Study(
        name="digits-survival",
        base=DIGITS_56,
        variants=grid(model__survival=(0.2, 0.4, 0.6, 0.8, 1.0)),
        seeds=(0, 1, 2),
        cost=StatedCost(5 * 60, CORE),
    ),
)
