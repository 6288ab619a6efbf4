"""Width and depth of plain nets on real 8x8 digits: does a wider net degrade less?

    python -m experiments.sweep digits-width-depth
    python -m experiments.report runs/digits-width-depth

digits.py defines the recipe. The papers' nets have 16 channels in the first stage (He et al. 2015, Sec. 4.2).

Cost: all 36 runs take 6 min of one CPU core.
"""

from experiments.studies.digits import RESNET
from experiments.study import CORE, StatedCost, Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="digits-width-depth",
        base=override(RESNET, {"model.shortcut": "none"}),
        variants=grid(model__width=(4, 8, 16), model__depth=(8, 20, 32, 56)),
        seeds=(0, 1, 2),
        cost=StatedCost(6 * 60, CORE),
    ),
)
