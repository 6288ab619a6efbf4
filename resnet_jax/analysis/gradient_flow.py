"""Gradient flow: the norm of the gradient in each layer, at the initial values and during training."""

from typing import Any

import jax
from jax import Array

from resnet_jax.analysis.modules import train_mode
from resnet_jax.models.resnet import ResNet
from resnet_jax.training import gradients
from resnet_jax.training.losses import cross_entropy


def mean_loss(model: ResNet, variables: Any, images: Array, labels: Array) -> Array:
    """Mean cross-entropy of a batch in nats, in train mode: images [N, H, W, C], labels [N] -> scalar."""
    return cross_entropy(train_mode(model, variables, images)[0], labels).mean()


def gradient_norms(model: ResNet, variables: Any, images: Array, labels: Array) -> dict[str, float]:
    """Euclidean norm of the gradient of the mean loss with respect to each kernel, by layer name, in train mode.

    Args:
      model: net with `stages="unrolled"`.
      variables: variables of the model.
      images: [N, H, W, C], normalised.
      labels: [N] int32.
    """

    @jax.jit
    def norms(params: Any) -> Any:
        grads = jax.grad(lambda p: mean_loss(model, {**variables, "params": p}, images, labels))(params)
        return gradients.gradient_norms(grads, model)

    _, height, width, channels = images.shape
    return gradients.by_layer(jax.device_get(norms(variables["params"])), model.config, (height, width, channels))
