"""Stochastic depth in a ResNet-56 on real 8x8 digits: which survival probability is best?

    python -m experiments.sweep digits-survival
    python -m experiments.report runs/digits-survival

The last block survives with this probability, the others with more (Huang et al. 2016, Sec. 3.1). The recipe is
digits.py's. Half the papers' channels halve the cost.

Cost: 4 min of one CPU core for all 15 runs.
"""

from experiments.studies.digits_shortcuts import DIGITS_56
from experiments.study import CORE, StatedCost, Study, grid

STUDIES = (
    Study(
        name="digits-survival",
        base=DIGITS_56,
        variants=grid(model__survival=(0.2, 0.4, 0.6, 0.8, 1.0)),
        seeds=(0, 1, 2),
        cost=StatedCost(4 * 60, CORE),
    ),
)
