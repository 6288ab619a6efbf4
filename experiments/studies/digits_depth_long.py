"""A control experiment for digits-depth: does three times as much training, at three rates, remove the degradation?

    python -m experiments.sweep digits-depth-long --jobs 2
    python -m experiments.report runs/digits-depth runs/digits-depth-long

All nets are trained for 3 times the iterations of digits-depth. The deepest plain net is trained at three learning
rates. The plain net of 20 layers and the residual net of 56 layers are trained only at the rate of digits-depth. The
rate drops at one half and three quarters of the iterations, as in digits-depth.

He et al. 2015, Sec. 4.1: "We have experimented with more training iterations (3x) and still observed the degradation
problem, suggesting that this problem cannot be feasibly addressed by simply using more iterations."

Cost: all 25 runs take 17 min of one CPU core; half of that with --jobs 2 on two cores.
"""

from experiments.studies.digits import ITERATIONS, RESNET
from experiments.study import CORE, StatedCost, Study, grid
from resnet_jax.config import override

TIMES = 3
BASE = override(
    RESNET,
    {
        "train.iterations": TIMES * ITERATIONS,
        "train.eval_every": TIMES,
    },
)

STUDIES = (
    Study(
        name="digits-depth-long",
        base=BASE,
        variants=(
            *grid(model__depth=(20,), model__shortcut=("none",)),
            *grid(model__depth=(56,), model__shortcut=("A",)),
            *grid(model__depth=(56,), model__shortcut=("none",), optim__learning_rate=(0.05, 0.1, 0.02)),
        ),
        seeds=(0, 1, 2, 3, 4),
        cost=StatedCost(17 * 60, CORE),
    ),
)
