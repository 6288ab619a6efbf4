"""Changes the colours of images at random, inside the compiled step: jitter, and noise along principal components."""

import jax
import jax.numpy as jnp
from jax import Array

# The number that is folded into an example's key for its colours. Its crop and flip use the keys 0 and 1 of a split.
COLORS = 2
# Weights of red, green and blue in a grey value (ITU-R BT.601, as in fb.resnet.torch and torchvision).
GREY = (0.299, 0.587, 0.114)


def recolor(images: Array, keys: Array, *, jitter: float, noise: float, components: Array | None) -> Array:
    """Changes the colours of each image at random, first jitter, then noise: [N, H, W, 3] -> [N, H, W, 3].

    Args:
      images: [N, H, W, 3] in [0, 1]. The result may lie outside of this range.
      keys: [N], a random key for each image; see augment.example_key.
      jitter: brightness, contrast and saturation are changed by factors uniform in [1 - jitter, 1 + jitter].
      noise: standard deviation of the three random factors that multiply the `components`; 0: no noise.
      components: [3, 3], principal components of colour as columns; see Normalization.colors. None if `noise` is 0.
    """

    def one(image: Array, key: Array) -> Array:
        order_key, factor_key, noise_key = jax.random.split(jax.random.fold_in(key, COLORS), 3)
        if jitter > 0.0:
            order = jax.random.permutation(order_key, 3)
            factors = jax.random.uniform(factor_key, (3,), image.dtype, 1.0 - jitter, 1.0 + jitter)
            image = jittered(image, order, factors)
        if components is not None:
            shift = components @ (noise * jax.random.normal(noise_key, (3,), image.dtype))
            image = image + shift.reshape(1, 1, 3)
        return image

    return jax.vmap(one)(images, keys)


def jittered(image: Array, order: Array, factors: Array) -> Array:
    """Changes brightness (0), contrast (1) and saturation (2) of an image in a given order: [H, W, 3] -> [H, W, 3].

    Each change is factor * image + (1 - factor) * other. For brightness, `other` is black; for contrast, the mean grey
    value of the image; for saturation, the image in grey (fb.resnet.torch, datasets/transforms.lua).

    Args:
      image: [H, W, 3].
      order: [3], the order of the changes, a permutation of 0, 1, 2.
      factors: [3], the factors of brightness, contrast and saturation.
    """
    weights = jnp.asarray(GREY, image.dtype).reshape(1, 1, 3)
    for step in range(3):
        kind = order[step]
        grey = (image * weights).sum(axis=-1, keepdims=True)  # [H, W, 1]
        other = jnp.where(kind == 0, 0.0, jnp.where(kind == 1, grey.mean(), grey))
        factor = factors[kind]
        image = factor * image + (1.0 - factor) * other
    return image
