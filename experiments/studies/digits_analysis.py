"""The nets that docs/analysis.md measures with instruments, trained on real 8x8 digits.

    python -m experiments.sweep digits-analysis
    python -m experiments.sweep digits-analysis-decay

digits.py defines the recipe. The norms of the gradient are also recorded, which does not change the nets. So each net
is equal to the net of digits-depth with the same depth and seed.

`digits-analysis-decay` is a control with more weight decay and more iterations. The scales of batch norm hardly change
in the 240 iterations of digits.py. In the control, they change.

Cost: the 8 runs take 4 min of one CPU core, and the 9 runs of the control take 10 min of one CPU core.
"""

from experiments.studies.digits import ITERATIONS, RESNET
from experiments.study import CORE, StatedCost, Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="digits-analysis",
        purpose="The nets that docs/analysis.md measures: 20 to 110 layers, with recorded gradient norms.",
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
        purpose="A control for layer responses: nets whose weight decay changes the scales of batch norm.",
        # A hundred times digits.py's decay, five times its iterations.
        base=override(RESNET, {"optim.weight_decay": 0.01, "train.iterations": 5 * ITERATIONS}),
        variants=({"model.shortcut": "none"}, {}, {"model.depth": 56}),
        seeds=(0, 1, 2),
        cost=StatedCost(10 * 60, CORE),
    ),
)
