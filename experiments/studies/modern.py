"""What later recipes add to a ResNet: nine ingredients that the papers do not have, each alone and all together.

    python -m experiments.sweep digits-modern --jobs 2
    python -m experiments.sweep cifar10-modern

The base is the papers' recipe for ResNet-20 and ResNet-56 (cifar.py, digits.py). A variant turns on one ingredient.
The last variant turns on all nine; there each image has mixup or CutMix, with equal probability. All ingredients depart
from the papers. config/optim.py and config/data.py name the source of each ingredient.

| ingredient        | what                                                    | CIFAR-10              | digits   |
|-------------------|---------------------------------------------------------|-----------------------|----------|
| cosine            | the rate falls along half a cosine, without drops       | to 0                  | to 0     |
| linear warm-up    | the rate rises in a line at the start                   | 0.01, 3 % of the run  | the same |
| Nesterov          | Nesterov's momentum                                     | 0.9                   | 0.9      |
| decay of kernels  | no decay of BN's scales and biases                      | 1e-4                  | 1e-4     |
| gradient clipping | the largest norm over all parameters                    | 1                     | 1        |
| label smoothing   | the share of the target that all classes have           | 0.1                   | 0.1      |
| mixup             | Beta's parameter                                        | 1                     | 0.2      |
| CutMix            | Beta's parameter                                        | 1                     | 1        |
| average           | decay of the average of the parameters, evaluated       | 0.999                 | 0.95     |

The values of label smoothing, mixup and CutMix are from their papers; on digits mixup has the milder value, for
ImageNet. The other values are usual ones. A run on digits has 240 iterations instead of 64,000, so its
average is over fewer iterations.

Cost: `digits-modern` 18 min of one CPU core for all 66 runs; `cifar10-modern`, by multiply-adds (cifar.py), 38 h of a
GPU at 1e12 multiply-adds/s.
"""

import itertools
from typing import Any

from experiments.studies import cifar, digits
from experiments.study import CORE, GPU, StatedCost, Study
from resnet_jax.config import ExperimentConfig

Changes = dict[str, Any]


def _ingredients(mixup: float, ema: float) -> dict[str, Changes]:
    """The changes of each ingredient, by name."""
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
