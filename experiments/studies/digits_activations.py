"""Five orders of BN, ReLU and weights in a ResNet-56 on real 8x8 digits (He et al. 2016, Table 2).

    python -m experiments.sweep digits-activations --jobs 2
    python -m experiments.report runs/digits-activations

cifar10_activations.py defines the orders, and digits.py defines the recipe. The data differ from the paper's. So the
ranking of the orders can be compared with the paper's ranking, but the errors cannot be compared.

Departs from the paper: 56 layers, 8 channels in the first stage, no warm-up.

Cost: all 15 runs take 3 min of one CPU core; half of that with --jobs 2 on two cores.
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
