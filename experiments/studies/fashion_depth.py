"""Degradation versus depth on Fashion-MNIST: plain and residual nets of 20 to 56 layers on 28x28 grey images.

    python -m experiments.prepare fashion_mnist
    python -m experiments.sweep fashion-depth
    python -m experiments.report runs/fashion-depth

The recipe is the paper's for CIFAR-10 (He et al. 2015, Sec. 4.2). Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747)
has about as many images as CIFAR-10. The papers have no numbers for it.

Cost: a run costs three quarters of a run of cifar10-depth, because the images have fewer pixels. All 24 runs take 10.4
h of a GPU at 1e12 multiply-adds/s.
"""

from experiments.studies.cifar import RESNET
from experiments.study import GPU, StatedCost, Study, grid
from resnet_jax.config import override

STUDIES = (
    Study(
        name="fashion-depth",
        base=override(RESNET, {"data.name": "fashion_mnist"}),
        variants=grid(model__depth=(20, 32, 44, 56), model__shortcut=("none", "A")),
        seeds=(0, 1, 2),
        cost=StatedCost(3.74e16 / 1e12, GPU),
    ),
)
