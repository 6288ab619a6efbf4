"""Eleven kinds of shortcuts in a ResNet-56 on real 8x8 digits (He et al. 2016, Table 1).

    python -m experiments.sweep digits-shortcuts --jobs 2
    python -m experiments.report runs/digits-shortcuts

cifar10_shortcuts.py defines the shortcuts, and digits.py defines the recipe. The data differ from the paper's. So the
ranking of the shortcuts can be compared with the paper's ranking, but the errors cannot be compared.

Departs from the paper:

- 56 layers instead of 110. A plain net of 56 layers already fails, by the paper's definition (a test error above 20 %).
- 8 channels in the first stage instead of 16, which halves the cost.
- No warm-up: the paper's 400 of 64,000 iterations would be 2 of 240 iterations.

Cost: all 33 runs take 8 min of one CPU core; half of that with --jobs 2 on two cores.
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
