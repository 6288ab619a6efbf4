"""What later recipes add to a ResNet: nine ingredients that the papers do not have, each alone and all together.

    python -m experiments.sweep digits-modern --jobs 2
    python -m experiments.sweep cifar10-modern

The base is the papers' recipe for ResNet-20 and ResNet-56 (cifar.py, digits.py). Each variant turns on one ingredient,
and the last variant turns on all nine. For each image, this variant chooses mixup or CutMix with equal probability. All
ingredients depart from the papers. config/optim.py and config/data.py name the source of each ingredient.

| ingredient        | meaning of the number                                   | CIFAR-10              | digits   |
|-------------------|---------------------------------------------------------|-----------------------|----------|
| cosine            | final learning rate; the rate follows half a cosine     | 0                     | 0        |
| linear warm-up    | first learning rate, and share of the run               | 0.01, 3 %             | the same |
| Nesterov          | Nesterov's momentum                                     | 0.9                   | 0.9      |
| decay of kernels  | weight decay, for kernels only, not for BN              | 1e-4                  | 1e-4     |
| gradient clipping | largest norm of the gradient over all parameters        | 1                     | 1        |
| label smoothing   | share of the target that is spread over all classes     | 0.1                   | 0.1      |
| mixup             | parameter of the Beta distribution                      | 1                     | 0.2      |
| CutMix            | parameter of the Beta distribution                      | 1                     | 1        |
| average           | decay of the moving average of the parameters           | 0.999                 | 0.95     |

The values of label smoothing, mixup and CutMix are from their papers. On digits, mixup has the smaller value that its
paper uses for ImageNet. The other values are usual ones. A run on digits has 240 iterations instead of 64,000, so its
moving average covers fewer iterations.

Cost: `digits-modern` takes 18 min of one CPU core for all 66 runs. `cifar10-modern` takes 38 h of a GPU at 1e12
multiply-adds/s.
"""

import itertools
from typing import Any

from experiments.studies import cifar, digits
from experiments.study import CORE, GPU, StatedCost, Study
from resnet_jax.config import ExperimentConfig

Changes = dict[str, Any]


def _ingredients(mixup: float, ema: float) -> dict[str, Changes]:
    return {
        "cosine": {"optim.schedule": "cosine"},
        "linear warm-up": {"optim.warmup": "linear", "optim.warmup_iterations": 0.03},
        "Nesterov": {"optim.nesterov": True},
        "decay of kernels": {"optim.decayed": "kernels"},
        "gradient clipping": {"optim.clip_norm": 1.0},
        "label smoothing": {"optim.label_smoothing": 0.1},
        "mixup": {"data.mixup": mixup},
        "CutMix": {"data.cutmix": 1.0},
        "average": {"optim.ema": ema},
    }


def _variants(ingredients: dict[str, Changes]) -> tuple[Changes, ...]:
    together = dict(itertools.chain.from_iterable(changes.items() for changes in ingredients.values()))
    return tuple(
        {"model.depth": depth, **changes} for changes in ({}, *ingredients.values(), together) for depth in (20, 56)
    )


def _study(name: str, data: str, base: ExperimentConfig, ingredients: dict[str, Changes], cost: StatedCost) -> Study:
    return Study(
        name=name,
        base=base,
        variants=_variants(ingredients),
        seeds=(0, 1, 2),
        cost=cost,
        purpose=f"What later recipes add to ResNet-20 and ResNet-56 on {data}: nine ingredients, alone and together.",
    )


DIGITS = _ingredients(mixup=0.2, ema=0.95)
CIFAR = _ingredients(mixup=1.0, ema=0.999)

STUDIES = (
    _study("digits-modern", "digits", digits.RESNET, DIGITS, StatedCost(18 * 60, CORE)),
    _study("cifar10-modern", "CIFAR-10", cifar.RESNET, CIFAR, StatedCost(1.35e17 / 1e12, GPU)),
)
