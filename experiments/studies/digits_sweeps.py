"""Sweeps of one field or two on real 8x8 digits, as examples: width, learning rate, width and depth, survival.

    python -m experiments.sweep digits-width --jobs 2
    python -m experiments.report runs/digits-width

The recipe is digits.py's. Cost: minutes of one CPU core each.
"""

from experiments.studies.digits import RESNET
from experiments.study import Study, grid

STUDIES = (
    Study("digits-width", RESNET, grid(model__width=(4, 8, 16, 32)), seeds=(0, 1, 2)),
    Study("digits-rate", RESNET, grid(optim__learning_rate=(0.003, 0.01, 0.03, 0.1, 0.3)), seeds=(0, 1, 2)),
    Study("digits-width-depth", RESNET, grid(model__width=(4, 8, 16), model__depth=(8, 20, 32)), seeds=(0, 1, 2)),
    Study("digits-survival", RESNET, grid(model__survival=(0.4, 0.6, 0.8, 1.0)), seeds=(0, 1, 2)),
)
