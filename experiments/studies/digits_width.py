"""Width of a ResNet-20 on real 8x8 digits: how many channels does the task need?

    python -m experiments.sweep digits-width
    python -m experiments.report runs/digits-width

digits.py defines the recipe. The papers' nets have 16 channels in the first stage (He et al. 2015, Sec. 4.2).

Cost: all 15 runs take 4 min of one CPU core.
"""

from experiments.studies.digits import RESNET
from experiments.study import CORE, StatedCost, Study, grid

STUDIES = (
    Study(
        name="digits-width",
        base=RESNET,
        variants=grid(model__width=(2, 4, 8, 16, 32)),
        seeds=(0, 1, 2),
        cost=StatedCost(4 * 60, CORE),
    ),
)
