"""Stochastic depth in a ResNet-56 on real 8x8 digits: which survival probability is best?

    python -m experiments.sweep digits-survival
    python -m experiments.report runs/digits-survival

The probability is that of the last block, and it falls linearly from the first block on (Huang et al. 2016, Sec. 3,
which use 0.5). With 1, stochastic depth is off. The recipe and the 8 channels in the first stage are those of
digits_shortcuts.py.

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
