"""The nets that are compared."""

from resnet_jax.config import ModelConfig

PREACT = "full_preactivation"

CIFAR_NETS = [
    ModelConfig(shortcut="none", num_classes=10),
    ModelConfig(shortcut="A", num_classes=10),
    ModelConfig(shortcut="A", shortcut_padding="both", num_classes=10),
    ModelConfig(shortcut="B", num_classes=10),
    ModelConfig(shortcut="C", num_classes=10),
    ModelConfig(shortcut="A", activation_order=PREACT, num_classes=10),
    ModelConfig(shortcut="B", activation_order=PREACT, num_classes=10),
    ModelConfig(block="bottleneck", shortcut="B", num_classes=10),
    ModelConfig(block="bottleneck", shortcut="B", bottleneck_stride="3x3", num_classes=10),
    ModelConfig(block="bottleneck", shortcut="B", activation_order=PREACT, num_classes=10),
]


def name(config: ModelConfig) -> str:
    """For test ids: "plain-20", "resnet-20-A-both", "preact-bottleneck-20-B"."""
    parts = ["preact" if config.activation_order == PREACT else ""]
    parts += [
        config.family if config.family == "imagenet" else "",
        "bottleneck" if config.block == "bottleneck" else "",
    ]
    if config.is_plain:
        parts.append("plain")
    elif config.block != "bottleneck":
        parts.append("resnet")
    parts.append(str(config.depth))
    if not config.is_plain:
        parts.append(config.shortcut)
    parts.append("both" if config.shortcut_padding == "both" else "")
    parts.append("stride3x3" if config.bottleneck_stride == "3x3" else "")
    return "-".join(part for part in parts if part)
