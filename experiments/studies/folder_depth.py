"""Your own pictures by depth: plain and residual nets of 20 to 56 layers on an image folder.

    python -m experiments.sweep folder-depth --data.path=PICTURES --data.image-size=32 --dry-run
    python -m experiments.report runs/folder-depth

PICTURES holds train/<class>/*.jpg and test/<class>/*.jpg. The recipe is CIFAR's (He et al. 2015, Sec. 4.2); a smaller
training set wants fewer iterations: --train.iterations=6400.

Cost: that of cifar10-depth's nets, 13.6 h of a GPU at 1e12 multiply-adds/s for all 24 runs, times your iterations over
64k, times your pixels over 32x32.
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
