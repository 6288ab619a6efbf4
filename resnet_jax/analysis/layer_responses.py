"""Layer responses: the standard deviation of each 3x3 layer's output (He et al. 2015, Fig. 7)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from resnet_jax.analysis.modules import intercepted
from resnet_jax.models.layers import BatchNorm, Conv, param_dtype
from resnet_jax.models.resnet import ResNet

KERNEL = 3


def responses(model: ResNet, variables: Any, images: Array) -> dict[str, Array]:
    """The response of each 3x3 convolution, by layer name in the order of computation: [N, H, W, C], in eval mode.

    The response is the output of the convolution or, if a BN takes this output directly, the output of the BN. So in
    every order of activations, the response is taken before a nonlinearity and before the addition.

    Args:
      model: net with `stages="unrolled"`.
      variables: variables of the model.
      images: [N, H, W, C], normalised.
    """
    found: dict[str, Array] = {}
    made: list[tuple[str, Array]] = []  # name and output of each conv; outputs are compared by identity

    def note(module: nn.Module, name: str, x: Array, call: Any) -> Any:
        y = call(x)
        if isinstance(module, Conv) and module.kernel == KERNEL:
            found[name] = y
            made.append((name, y))
        elif isinstance(module, BatchNorm):
            for conv, output in made:
                if output is x:
                    found[conv] = y
        return y

    with intercepted(note):
        model.apply(variables, images, train=False)
    return found


def layer_responses(model: ResNet, variables: Any, images: Array, batch_size: int = 256) -> dict[str, float]:
    """The standard deviation of each 3x3 layer's responses over all images, pixels and channels, by layer name.

    Args:
      model, variables, images: as for `responses`.
      batch_size: number of images in a batch.
    """

    @jax.jit
    def moments(variables: Any, images: Array) -> list[tuple[Array, Array]]:
        found = []
        for y in responses(model, variables, images).values():
            wide = y.astype(param_dtype(model.config.dtype))
            found.append((wide.mean(), jnp.square(wide - wide.mean()).mean()))
        return found

    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    by_batch = np.asarray([jax.device_get(moments(variables, batch)) for batch in batches], np.float64)
    # Total variance: the mean of the batches' variances plus the variance of their means. Shapes: [batches, layers].
    means, variances = by_batch[..., 0], by_batch[..., 1]
    weights = np.array([[len(batch) / len(images)] for batch in batches])
    mean = (weights * means).sum(0)
    std = np.sqrt((weights * (variances + np.square(means - mean))).sum(0))
    return dict(zip(layers(model, variables, images[:1]), std.tolist(), strict=True))


def layers(model: ResNet, variables: Any, images: Any) -> list[str]:
    """The names of the 3x3 layers in the order of computation."""
    order: list[str] = []  # a list, because JAX sorts the keys of the dictionaries that a traced function returns

    def trace(variables: Any, images: Array) -> None:
        order.extend(responses(model, variables, images))

    jax.eval_shape(trace, variables, images)
    return order
