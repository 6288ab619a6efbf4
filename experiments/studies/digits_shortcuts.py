"""Shortcuts of a ResNet-56 on real 8x8 digits: the eleven lines of He et al. 2016, Table 1, in minutes.

    python -m experiments.sweep digits-shortcuts --jobs 2
    python -m experiments.report runs/digits-shortcuts

The lines are cifar10_shortcuts.py's and the recipe is digits.py's: so the paper's order of the lines is what can be
compared, not its numbers. Departs from the paper: 56 layers for its 110, at which a plain net fails within these
iterations as the paper defines it (a test error above 20 %); 8 channels in the first stage for its 16, which halves the
cost; and no warm-up (its 400 iterations of 64,000 would be 2 of these 240).

Cost: 8 min of one CPU core for all 33 runs; half of that with --jobs 2 on two cores.
"""

from experiments.studies.cifar10_shortcuts import TABLE_1
from experiments.studies.digits import RESNET
from experiments.study import CORE, StatedCost, Study
from resnet_jax.config import override

DIGITS_56 = override(RESNET, {"model.depth": 56, "model.width": 8})

STUDIES = (
    Study(
        name="digits-shortcuts",
        base=DIGITS_56,
        variants=TABLE_1,
        seeds=(0, 1, 2),
        cost=StatedCost(8 * 60, CORE),
    ),
)
