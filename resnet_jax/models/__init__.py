"""The nets and what can be said of them without running them."""

from resnet_jax.models.resnet import ResNet, build

__all__ = ["ResNet", "build"]
