"""Degradation versus depth on your own pictures: plain and residual nets of 20 to 56 layers on an image folder.

    python -m experiments.sweep folder-depth --data.path=PICTURES --data.image-size=32 --dry-run
    python -m experiments.report runs/folder-depth

PICTURES holds train/<class>/*.jpg and test/<class>/*.jpg. The recipe is the paper's for CIFAR-10 (He et al. 2015, Sec.
4.2). For a smaller training set, reduce the iterations, for example with --train.iterations=6400.

Cost: with 64k iterations and 32x32 pixels, all 24 runs take 13.6 h of a GPU at 1e12 multiply-adds/s. The cost is
proportional to the iterations and to the pixels.
"""

from experiments.studies.cifar import RESNET
from experiments.study import GPU, StatedCost, Study, grid
from resnet_jax.config import override

# A placeholder: the command line must name the user's own folder.
UNNAMED = "PICTURES"
FOLDER = override(RESNET, {"data.source": "folder", "data.name": None, "data.path": UNNAMED, "data.image_size": 32})

EXPERIMENTS = {
    "folder-plain": override(FOLDER, {"model.shortcut": "none"}),
    "folder-resnet": FOLDER,
}

STUDIES = (
    Study(
        name="folder-depth",
        base=FOLDER,
        variants=grid(model__depth=(20, 32, 44, 56), model__shortcut=("none", "A")),
        seeds=(0, 1, 2),
        cost=StatedCost(4.9e16 / 1e12, GPU),
    ),
)
