"""The papers' recipe for CIFAR: He et al. 2015, Sec. 4.2, and 2016, Appendix. Comments quote the papers.

    python -m experiments.prepare cifar10
    python -m experiments.train cifar10-resnet --model.depth=56

The first command prepares the images with TensorFlow Datasets. The images can also be NumPy arrays in a file:
--data.source=npz --data.path=cifar10.npz (resnet_jax/data/sources/npz.py describes it).

Cost: a run has 64k iterations of 128 images. A forward pass of ResNet-20 has 40.6 M multiply-adds for each image, and a
training step has three times as many. So a run of ResNet-20 has 1.0e15 multiply-adds, and a run of ResNet-110 has
6.2e15. On 2 CPU cores, at about 200 images/s, a run of ResNet-20 takes 11 hours.
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

RESNET = ExperimentConfig(
    model=ModelConfig(
        family="cifar",
        depth=20,
        shortcut="A",  # "identity shortcuts in all cases (i.e., option A)"
        # "a mini-batch size of 128 on two GPUs": each GPU normalised its own 64 images.
        norm=BatchNormConfig(scope="ghost", ghost_size=64),
    ),
    data=DataConfig(
        source="tfds",
        name="cifar10",
        normalize="pixel_mean",  # "with the per-pixel mean subtracted"
        pad=4,  # "4 pixels are padded on each side, and a 32x32 crop is randomly sampled"
        flip=True,  # "from the padded image or its horizontal flip"
    ),
    optim=OptimConfig(
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        milestones=(0.5, 0.75),  # "divide it by 10 at 32k and 48k iterations", of 64k
        decay_factor=0.1,
        # Only for nets with a warm-up; see WARMUP.
        warmup_rate=0.01,
        warmup_error=0.8,
    ),
    train=TrainConfig(
        iterations=64_000,  # "and terminate training at 64k iterations"
        batch_size=128,
        eval_batch_size=1_000,
        # In epochs: each curve of Fig. 6 gets 41 points of test error, for 2 % of the cost of training.
        eval_every=4,
        checkpoint_steps=1_000,
    ),
)

WARMUP = {
    # "we use 0.01 to warm up the training until the training error is below 80% (about 400 iterations), and then go
    # back to 0.1": depth 110. The paper does not say whether the 1202-layer net was warmed up; here it is.
    "optim.warmup": "error",
}

WARMUP_2016 = {
    # He et al. 2016, Appendix: "for all CIFAR experiments we warm up the training by using a smaller learning rate of
    # 0.01 at the beginning 400 iterations and go back to 0.1 after that". The rest of their recipe is that of 2015.
    "optim.warmup": "iterations",
    "optim.warmup_rate": 0.01,
    "optim.warmup_iterations": 400 / 64_000,
}
# "all of our bottleneck ResNets": 9n+2 layers; with the shortcut "identity", they project where their shape changes.
BOTTLENECK_164 = {"model.depth": 164, "model.block": "bottleneck"}
BOTTLENECK_1001 = {"model.depth": 1001, "model.block": "bottleneck"}

EXPERIMENTS = {
    "cifar10-plain": override(RESNET, {"model.shortcut": "none"}),
    "cifar10-resnet": RESNET,
    "cifar10-preact-164": override(
        RESNET,
        {**WARMUP_2016, **BOTTLENECK_164, "model.shortcut": "identity", "model.activation_order": "full_preactivation"},
    ),
    "cifar10-preact-1001": override(
        RESNET,
        {
            **WARMUP_2016,
            **BOTTLENECK_1001,
            "model.shortcut": "identity",
            "model.activation_order": "full_preactivation",
        },
    ),
}
