"""Fine-tuning: a trained net with a new last layer on a few pictures, compared with training from random values.

    python -m experiments.train finetune-cifar --finetune.weights=NET --data.path=PICTURES
    python -m experiments.train finetune-imagenet --finetune.weights=resnet50.pth --data.path=PICTURES

NET is a file that experiments.convert reads or writes. finetune-cifar expects the ResNet-20 of
akamaster/pytorch_resnet_cifar10, and finetune-imagenet expects torchvision's ResNet-50. With another
net, training stops with an error message that names the options to add, such as --model.depth=56.
PICTURES holds train/<class>/*.jpg and test/<class>/*.jpg.

The study trains on 150 pictures, 30 of each of five classes of CIFAR-10, and tests on 1,000. These commands copy the
pictures into the folder `five`, and run the study:

    for class in airplane automobile bird cat deer; do
      mkdir -p five/train/$class five/test/$class
      cp $(ls cifar10/train/$class/* | head -30) five/train/$class
      cp $(ls cifar10/test/$class/* | head -200) five/test/$class
    done
    python -m experiments.sweep finetune-small --finetune.weights=resnet20-12fca82f.th --data.path=five --jobs 2

There are four variants. The first fine-tunes the whole net. The second freezes all stages and trains only the last
layer. The third and fourth train the net from random values: the third at the same rate, and the fourth at the papers'
rate, which is ten times as high.

Cost: all 12 runs take 7 min of one CPU core. Each has 60 steps of 50 images.
"""

from experiments.study import CORE, StatedCost, Study
from resnet_jax.config import (
    BatchNormConfig,
    DataConfig,
    ExperimentConfig,
    FinetuneConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
    override,
)

# Placeholders: the command line must name the user's own paths.
NET, PICTURES = "NET", "PICTURES"
RATE = 0.01
"""A tenth of the rate of the first training, as in Girshick et al. 2014 (arXiv 1311.2524, Sec. 2.3),
"which allows fine-tuning to make progress while not clobbering the initialization"."""
ITERATIONS = 1_000

CIFAR = ExperimentConfig(
    # As in akamaster's nets: zero channels on both sides.
    model=ModelConfig(family="cifar", depth=20, shortcut="A", shortcut_padding="both", norm=BatchNormConfig()),
    data=DataConfig(source="folder", path=PICTURES, image_size=32, normalize="weights", pad=4, flip=True),
    finetune=FinetuneConfig(weights=NET),
    optim=OptimConfig(
        learning_rate=RATE,
        momentum=0.9,
        weight_decay=1e-4,
        # Divided by 10 at one half and three quarters, as in the papers' CIFAR runs.
        milestones=(0.5, 0.75),
        decay_factor=0.1,
    ),
    train=TrainConfig(iterations=ITERATIONS, batch_size=64, eval_batch_size=500, eval_every=1, checkpoint_steps=200),
)

IMAGENET = override(
    CIFAR,
    {
        # As in torchvision's ResNet-50: "v1.5".
        "model.family": "imagenet",
        "model.depth": 50,
        "model.shortcut": "B",
        "model.shortcut_padding": "end",
        "model.bottleneck_stride": "3x3",
        "data.image_size": 224,
        "data.pad": 32,
        "train.batch_size": 32,
        "train.eval_batch_size": 100,
    },
)

EXPERIMENTS = {"finetune-cifar": CIFAR, "finetune-imagenet": IMAGENET}

STEPS = 60
FROM_SCRATCH = {"finetune.weights": None, "data.normalize": "channel_mean_std"}

STUDIES = (
    Study(
        name="finetune-small",
        base=override(
            CIFAR,
            {
                "train.iterations": STEPS,
                "train.batch_size": 50,
                "train.eval_every": 0,
            },
        ),
        variants=(
            {},
            {"finetune.frozen_stages": 3},
            FROM_SCRATCH,
            {**FROM_SCRATCH, "optim.learning_rate": 10 * RATE},
        ),
        seeds=(0, 1, 2),
        cost=StatedCost(7 * 60, CORE),
    ),
)
