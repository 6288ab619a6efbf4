"""Degradation versus depth on CIFAR-10: plain and residual nets of 20 to 110 layers, and ResNet-1202 (He et al. 2015).

    make reproduce-cifar10 DATA=cifar10.npz JAX='jax[cuda13]'

    python -m experiments.sweep cifar10-depth --data.source=npz --data.path=cifar10.npz
    python -m experiments.report runs/cifar10-depth

cifar10.npz holds the original images as NumPy arrays, such as Keras's x_train, y_train, x_test, y_test. Without DATA,
make takes the images from TensorFlow Datasets, with the commands `python -m experiments.prepare cifar10` and `python -m
experiments.sweep cifar10-depth`.

The nets are from the paper's Table 6 and Fig. 6 (Sec. 4.2). The recipe is the paper's (cifar.py). Nets of 110 layers
and more start at learning rate 0.01 until their training error falls below 80 %.

Cost of a run in multiply-adds: 1.0e15 (20 layers), 1.7e15 (32), 2.4e15 (44), 3.1e15 (56), 6.2e15 (110), 7.0e16 (1202).
The five seeds of all nets take 5.7 days of a GPU at 1e12 multiply-adds/s, of which ResNet-1202 takes seven tenths.

`cifar10-depth-short` is for two CPU cores: the nets of 20 and 56 layers with 3,200 iterations. Departs from the paper:
a twentieth of its iterations. The milestones stay at one half and three quarters. Cost: 4.0 h of one CPU core.
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
        purpose="The nets of 20 and 56 layers with a twentieth of the paper's iterations, for two CPU cores.",
        base=override(RESNET, {"train.iterations": 3_200, "train.checkpoint_steps": 100}),
        variants=grid(model__depth=(20, 56), model__shortcut=("none", "A")),
        seeds=(0,),
        cost=StatedCost(4 * 3600, CORE),
    ),
)
