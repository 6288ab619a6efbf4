"""Learning rates of a plain and a residual net of 32 layers on real 8x8 digits: do the nets need different rates?

    python -m experiments.sweep digits-rates
    python -m experiments.report runs/digits-rates

digits.py defines the recipe, with the rate 0.05. The nets have half of the papers' channels, which halves the cost.

Cost: all 36 runs take 6 min of one CPU core.
"""

from experiments.studies.digits import RESNET
from experiments.study import CORE, StatedCost, Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="digits-rates",
        base=override(RESNET, {"model.depth": 32, "model.width": 8}),
        variants=grid(model__shortcut=("none", "A"), optim__learning_rate=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3)),
        seeds=(0, 1, 2),
        cost=StatedCost(6 * 60, CORE),
    ),
)
