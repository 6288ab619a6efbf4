"""Orders of BN, ReLU and weights in a ResNet-56 on real 8x8 digits: the five of He et al. 2016, Table 2, in minutes.

    python -m experiments.sweep digits-activations --jobs 2
    python -m experiments.report runs/digits-activations

The orders are those in cifar10_activations.py, and the recipe is that in digits.py. So the order of the lines is
comparable with the paper's, but the numbers are not.

Departs from the paper in the same way as digits_shortcuts.py: 56 layers, 8 channels in the first stage, no warm-up.

Cost: 3 min of one CPU core for all 15 runs; half of that with --jobs 2 on two cores.
"""

from experiments.studies.cifar10_activations import TABLE_2
from experiments.studies.digits_shortcuts import DIGITS_56
from experiments.study import CORE, StatedCost, Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="digits-activations",
        base=override(DIGITS_56, {"model.shortcut": "identity"}),
        variants=grid(model__activation_order=TABLE_2),
        seeds=(0, 1, 2),
        cost=StatedCost(3 * 60, CORE),
    ),
)
