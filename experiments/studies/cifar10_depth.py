"""CIFAR-10 by depth: plain and residual nets of 20 to 110 layers, and the 1202-layer net (He et al. 2015, Sec. 4.2).

    make reproduce-cifar10 DATA=cifar10.npz JAX='jax[cuda13]'       # without DATA: from TFDS

    python -m experiments.sweep cifar10-depth --data.source=npz --data.path=cifar10.npz
    python -m experiments.report runs/cifar10-depth

cifar10.npz holds the original images as NumPy arrays, such as Keras's x_train, y_train, x_test, y_test. From TFDS:
python -m experiments.prepare cifar10, and the sweep without its options.

The paper's Table 6 and Fig. 6, with its recipe (cifar.py says where each number is from). Nets of 110 layers and more
start at rate 0.01 until their training error falls below 80 %.

Cost by multiply-adds, a run: 1.0e15 (20 layers), 1.7e15 (32), 2.4e15 (44), 3.1e15 (56), 6.2e15 (110), 7.0e16 (1202).
One seed of all is 9.8e16, seven tenths of it for 1202; all five, 5.7 days of a GPU at 1e12 multiply-adds/s.

`cifar10-depth-short` is for two CPU cores: the 20-layer nets with 3,200 iterations, a twentieth of the paper's.
Departs from the paper: nothing but the number of iterations, and with it the milestones, which stay at a half and three
quarters. Cost: 78 min of one CPU core.
"""

from experiments.studies.cifar import RESNET, WARMUP
from experiments.study import CORE, GPU, StatedCost, Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="cifar10-depth",
        base=RESNET,
        variants=(
            *grid(model__depth=(20, 32, 44, 56), model__shortcut=("none", "A")),
            *({**net, **WARMUP} for net in grid(model__depth=(110,), model__shortcut=("none", "A"))),
            {"model.depth": 1202, "model.shortcut": "A", **WARMUP},
        ),
        seeds=(0, 1, 2, 3, 4),  # the paper runs 110 layers five times: 6.61 +- 0.16
        cost=StatedCost(4.9e17 / 1e12, GPU),
    ),
    Study(
        name="cifar10-depth-short",
        purpose="The 20-layer nets of cifar10-depth with a twentieth of its iterations, for two CPU cores.",
        base=override(RESNET, {"train.iterations": 3_200, "train.checkpoint_steps": 100}),
        variants=grid(model__depth=(20,), model__shortcut=("none", "A")),
        seeds=(0,),
        cost=StatedCost(1.3 * 3600, CORE),
    ),
)
