"""Orders of BN, ReLU and weights in ResNet-56 on real 8x8 digits: the five of He et al. 2016, Table 2, in minutes.

    python -m experiments.sweep digits-activations --jobs 2
    python -m experiments.report runs/digits-activations

The orders are cifar10_activations.py's and the recipe is digits.py's: the paper's order of the lines is what can be
compared, not its numbers. Departs from the paper: 56 layers of basic blocks, and no warm-up.

Cost: 15 runs of 40 to 60 s each on one CPU core; about 7 minutes on two.
"""

from experiments.configs.cifar10_activations import TABLE_2
from experiments.configs.digits import RESNET
from experiments.study import Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="digits-activations",
        base=override(RESNET, {"model.depth": 56, "model.shortcut": "identity"}),
        variants=grid(model__activation_order=TABLE_2),
        seeds=(0, 1, 2),
    ),
)
