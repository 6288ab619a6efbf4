"""The nets that docs/analysis.md looks inside, of 20 to 110 layers, trained on real 8x8 digits.

    python -m experiments.sweep digits-analysis

The recipe is digits.py's, with the gradient's norms recorded.

Cost: 4 min of one CPU core for all 8 runs.
"""

from experiments.studies.digits import RESNET
from experiments.study import CORE, StatedCost, Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="digits-analysis",
        base=override(RESNET, {"train.gradient_norms_every": 20}),
        variants=(
            *grid(model__depth=(20, 32, 56), model__shortcut=("none", "A")),
            {"model.depth": 56, "model.activation_order": "full_preactivation"},
            {"model.depth": 110},
        ),
        seeds=(0,),
        cost=StatedCost(4 * 60, CORE),
    ),
)
