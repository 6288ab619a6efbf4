"""The nets that docs/analysis.md looks inside, trained on real 8x8 digits.

    python -m experiments.sweep digits-analysis
    python -m experiments.sweep digits-analysis-decay

The recipe is that in digits.py, and the gradient's norms are recorded. So each net has the same values as the net of
digits-depth with its depth and seed. In the control, `digits-analysis-decay`, weight decay and iterations suffice to
change the scales of batch norm; 240 iterations hardly change them.

Cost: 4 min of one CPU core for the 8 runs, and 10 min of one CPU core for the 9 of the control.
"""

from experiments.studies.digits import ITERATIONS, RESNET
from experiments.study import CORE, StatedCost, Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="digits-analysis",
        purpose="The nets that docs/analysis.md looks inside: 20 to 110 layers, gradient norms recorded.",
        base=override(RESNET, {"train.gradient_norms_every": 20}),
        variants=(
            *grid(model__depth=(20, 32, 56), model__shortcut=("none", "A")),
            {"model.depth": 56, "model.activation_order": "full_preactivation"},
            {"model.depth": 110},
        ),
        seeds=(0,),
        cost=StatedCost(4 * 60, CORE),
    ),
    Study(
        name="digits-analysis-decay",
        purpose="Layer responses where weight decay had the time to move batch norm's scales.",
        # A hundred times digits.py's decay, five times its iterations.
        base=override(RESNET, {"optim.weight_decay": 0.01, "train.iterations": 5 * ITERATIONS}),
        variants=({"model.shortcut": "none"}, {}, {"model.depth": 56}),
        seeds=(0, 1, 2),
        cost=StatedCost(10 * 60, CORE),
    ),
)
