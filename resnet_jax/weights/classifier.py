"""Applies a net to image files: class probabilities, and the output of any block."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.data import decode
from resnet_jax.data.augment import normalize
from resnet_jax.data.dataset import Images
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import build
from resnet_jax.models.stacking import block_name
from resnet_jax.text import nearest
from resnet_jax.weights.arrays import Array
from resnet_jax.weights.bundle import Weights

AT_ONCE = 32  # pictures in a batch


@dataclass(frozen=True)
class Prediction:
    """The result of a net for one picture."""

    path: str
    probabilities: Array
    """Probabilities of the K classes, [K] float32."""
    features: Array | None
    """The output of the requested block, [h, w, C] float32; None if no block was requested."""


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read."""

    path: str
    reason: str
    """The reason, such as "it is not an image"."""


class Classifier:
    """A net in eval mode and float32, compiled for pictures of its size."""

    def __init__(self, weights: Weights, features: str | None = None) -> None:
        """Puts the arrays of a net on the first device.

        Args:
          weights: the net, from `load_weights`.
          features: name of a block whose output is also returned, such as "stage3_block2".

        Raises:
          UserError: the net has no such block, or no last layer.
        """
        require_head(weights)
        blocks = [block_name(*block) for block in weights.model.blocks]
        if features is not None and features not in blocks:
            raise UserError(f"features: got {features!r}; {nearest(features, blocks)}")
        self.weights, self._features = weights, features
        self._variables = jax.device_put(weights.variables())
        model = build(dataclasses.replace(weights.model, dtype="float32"))
        statistics = weights.preprocessing.normalization
        mean, std = (jnp.asarray(statistic, jnp.float32) for statistic in (statistics.mean, statistics.std))

        @jax.jit
        def apply(variables: dict[str, Any], images: jax.Array) -> tuple[jax.Array, jax.Array | None]:
            logits, kept = model.apply(
                variables,
                normalize(images, mean, std),
                train=False,
                capture_intermediates=lambda module, _: features is not None and module.name == features,
                mutable=["intermediates"],
            )
            found = kept["intermediates"][features]["__call__"][0] if features is not None else None
            return logits, found

        self._apply = apply

    def logits(self, images: Images) -> tuple[Array, Array | None]:
        """Computes logits [N, K] float32, and features [N, h, w, C] float32 or None.

        Args:
          images: [N, H, W, C] uint8, not normalised. H and W are free, unless the net subtracts a mean image. Then they
            are the height and width of the mean image.

        Raises:
          UserError: the images have another shape or dtype.
        """
        self._require(images)
        with jax.default_matmul_precision(self.weights.model.precision):
            logits, features = jax.device_get(self._apply(self._variables, images))
        return logits, features

    def _require(self, images: Images) -> None:
        shape = tuple(np.shape(images))
        channels, squeezed = self.weights.preprocessing.channels, self.weights.preprocessing.normalization.mean.shape
        # A net accepts images of any size, unless it subtracts a mean image.
        sides = self.weights.preprocessing.shape[:2] if squeezed[1:3] != (1, 1) else None
        if len(shape) == 4 and shape[3] == channels and min(shape) > 0 and sides in (None, shape[1:3]):
            if np.asarray(images).dtype == np.uint8:
                return
            got = f"numbers of type {np.asarray(images).dtype}"
        else:
            got = f"the shape {shape}"
        h, w = ("H", "W") if sides is None else sides
        raise UserError(
            f"images: got {got}; legal: [N, {h}, {w}, {channels}] uint8, pixels from 0 to 255, not normalised; for "
            f"image files, use Classifier.predict(paths)."
        )

    def predict(self, paths: Sequence[str]) -> Iterator[Prediction | Skipped]:
        """Yields the result for each file, in order: Prediction, or Skipped if the file cannot be read."""
        size = min(AT_ONCE, len(paths))

        def read(path: str) -> Images | Skipped:
            try:
                return self.weights.preprocessing.read(path)
            except decode.Unreadable as reason:
                return Skipped(path, str(reason))

        with decode.quiet(), ThreadPoolExecutor(thread_name_prefix="decode") as pool:
            for start in range(0, len(paths), size):
                part = paths[start : start + size]
                found = list(pool.map(read, part))
                images = np.zeros((size, *self.weights.preprocessing.shape), np.uint8)  # one shape, compiled once
                for row, image in enumerate(found):
                    if not isinstance(image, Skipped):
                        images[row] = image
                if all(isinstance(image, Skipped) for image in found):
                    yield from (image for image in found if isinstance(image, Skipped))
                    continue
                logits, features = self.logits(images)
                for row, (path, image) in enumerate(zip(part, found, strict=True)):
                    if isinstance(image, Skipped):
                        yield image
                    else:
                        yield Prediction(path, _softmax(logits[row]), None if features is None else features[row])


def require_head(weights: Weights) -> None:
    """Raises UserError if a net has no last layer."""
    if not weights.has_head:
        raise UserError(
            f"{weights.origin.file}: a net without a last layer cannot classify; fine-tune it with --finetune.weights."
        )


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max())
    return np.asarray(shifted / shifted.sum(), np.float32)
