"""Depth on ImageNet: plain and residual nets of 18 and 34 layers, residual nets of 50 to 152 (He et al. 2015).

    python -m experiments.sweep imagenet-depth --data.path=IMAGENET --dry-run
    python -m experiments.report runs/imagenet-depth

The nets are from the paper's Tables 2 and 3. IMAGENET holds train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, or val/*.JPEG
with a file of their classes (see resnet_jax/data/ground_truth.py). Images are decoded during training.
--data.classes=100 takes only the first 100 classes, and --data.protocol=multi_scale evaluates as in Table 4. Comments
say which numbers of the recipe are the paper's.

Cost of training, in multiply-adds for a run of 90 epochs: 6.2e17 (18 layers), 1.3e18 (34), 1.3e18 (50), 2.6e18 (101),
3.9e18 (152). All seven runs take 134 days of a GPU at 1e12 multiply-adds/s. The training step was measured only on two
CPU cores (experiments/records/benchmark-resnet50.json): 3.6 images/s with ResNet-50, so a run would take a year.

Cost of decoding, measured (experiments/records/benchmark-input.json): one core decodes and crops 935 images/s. A run
has 1.15e8 training images, which take 1.4 days of one core; all seven runs take 10 days. A GPU that trains on 3,000
images/s needs 3.2 cores for decoding. With fewer cores it waits, and the run's record says how long
(cost.input_s).
"""

from experiments.study import GPU, StatedCost, Study, grid
from resnet_jax.config import (
    BatchNormConfig,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)

TRAIN_IMAGES = 1_281_167  # ILSVRC 2012
BATCH = 256  # "a mini-batch size of 256" (2015, Sec. 3.4)
EPOCH = TRAIN_IMAGES // BATCH

BASE = ExperimentConfig(
    model=ModelConfig(
        family="imagenet",
        depth=18,
        shortcut="A",
        # 2016, Appendix: 8 GPUs with 32 images each. The 2015 paper does not give its BN batch.
        norm=BatchNormConfig(scope="ghost", ghost_size=32),
    ),
    data=DataConfig(
        source="folder",
        path="IMAGENET",
        stream=True,
        image_size=224,
        # 2015, Sec. 3.4: "resized with its shorter side randomly sampled in [256, 480]", a random 224x224 crop or its
        # flip, "the per-pixel mean subtracted", "the standard color augmentation in [21]" (Krizhevsky et al. 2012).
        crop="scale",
        scales=(256, 480),
        flip=True,
        normalize="pixel_mean",
        color_noise=0.1,
        # Departs from the paper: the mean is computed from this number of training images, cropped as in evaluation.
        statistics_images=10_000,
        # "the standard 10-crop testing", once, at the end; during training the centre crop of 256, as in Fig. 4.
        eval_resize=256,
        protocol="ten_crop",
    ),
    optim=OptimConfig(
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        # 2016, Appendix: "divided by 10 at 30 and 60 epochs". The 2015 paper divides when the error plateaus.
        milestones=(30 / 90, 60 / 90),
        decay_factor=0.1,
    ),
    train=TrainConfig(
        iterations=90 * EPOCH,  # the 2015 paper: up to 60e4 iterations, about 120 epochs
        batch_size=BATCH,
        eval_batch_size=256,
        eval_every=1,
        checkpoint_steps=1_000,
    ),
)

STUDIES = (
    Study(
        name="imagenet-depth",
        base=BASE,
        variants=(
            *grid(model__depth=(18, 34), model__shortcut=("none", "A")),  # Table 2
            *grid(model__depth=(50, 101, 152), model__shortcut=("B",)),  # Table 3
        ),
        seeds=(0,),
        cost=StatedCost(1.16e19 / 1e12, GPU),
    ),
)
