"""A plain and a residual net on scikit-learn's 1,797 real handwritten digits of 8x8 pixels.

    python -m experiments.train digits-plain --model.depth=56
    python -m experiments.train digits-resnet --model.depth=56

The recipe is from He et al. 2015, Sec. 4.2, with fewer iterations for the 1,437 training images. Comments mark each
departure from the paper. Cost on 2 CPU cores, with compilation: about 10 s at depth 20, 20 s at depth 56.
"""

from resnet_jax.config import (
    BatchNormConfig,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
    override,
)

ITERATIONS = 240
"""About 21 epochs. Departs from the paper: 64k iterations, about 164 epochs of CIFAR-10."""

RESNET = ExperimentConfig(
    model=ModelConfig(
        depth=20,
        shortcut="A",
        # Departs from the paper: BN over all 128 images. In the paper, each of two GPUs normalises its 64 images.
        norm=BatchNormConfig(momentum=0.9, epsilon=1e-5, scope="global"),
    ),
    data=DataConfig(
        source="digits",
        normalize="pixel_mean",
        # Departs from the paper: no augmentation. The study is about training error, and a mirrored digit is no digit.
        pad=0,
        flip=False,
    ),
    optim=OptimConfig(
        # Departs from the paper: with its 0.1, one of three ResNet-56 did not converge in these few iterations. The
        # paper, too, finds 0.1 "slightly too large to start converging" at 110 layers (Sec. 4.2).
        learning_rate=0.05,
        momentum=0.9,
        weight_decay=1e-4,
        # Divided by 10 at one half and three quarters of the run, as in the paper: 32k and 48k of 64k.
        milestones=(0.5, 0.75),
        decay_factor=0.1,
    ),
    train=TrainConfig(
        iterations=ITERATIONS,
        batch_size=128,
        eval_batch_size=360,  # the test set at once, the training set in four
        eval_every=1,
        checkpoint_steps=60,
    ),
)

EXPERIMENTS = {
    "digits-plain": override(RESNET, {"model.shortcut": "none"}),
    "digits-resnet": RESNET,
}
