"""Computes statistics of training images: the mean, the standard deviation, and the principal components of colour.

They follow from exact integer sums. For images in memory, the sums are over all images. For streamed images, they are
over `data.statistics_images` images, which are decoded once; the cache keeps these sums for later runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resnet_jax.config import DataConfig
from resnet_jax.data import cache, progress
from resnet_jax.data.dataset import PIECE, Images, Source
from resnet_jax.data.stream import StreamSource
from resnet_jax.text import Note
from resnet_jax.types import Floats

# Number of streamed images that are summed at once; small, so that the progress bar moves.
STREAMED_PIECE = 64
# Number of pixels whose products are computed at once.
AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Normalization:
    """The normalisation of images [N, H, W, C]: (pixels / 255 - mean) / std."""

    mean: Floats
    """[1, H, W, C] for data.normalize="pixel_mean", otherwise [1, 1, 1, C]; in units of pixels / 255."""
    std: Floats
    """[1, 1, 1, C] or [1, 1, 1, 1]."""

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Normalises images [N, H, W, C] on the host. Compiled steps use data.augment.normalize instead."""
        return (images / 255.0 - self.mean) / self.std

    colors: Floats | None = None
    """[3, 3], for colour noise: the principal components of the colours of pixels / 255, largest first. Each column is
    an eigenvector of the covariance, times its eigenvalue. None: there is no colour noise."""

    def for_size(self, height: int, width: int) -> Normalization:
        """The normalisation for images of height x width pixels.

        If `mean` is a mean image of another size, the result has one mean for each channel instead: the average over
        the pixels of the mean image.
        """
        if self.mean.shape[1:3] in ((1, 1), (height, width)):
            return self
        return dataclasses.replace(self, mean=self.mean.mean(axis=(1, 2), keepdims=True))


def normalization(source: Source, config: DataConfig, note: Note = lambda text: None) -> Normalization:
    """Computes the normalisation `config.normalize` from the training images.

    "pixel_mean" subtracts the mean image and does not divide (He et al. 2015, Sec. 4.2). The paper does not give the
    scale of its pixels; here they are in [0, 1]. The first BN makes the scale irrelevant.

    Raises:
      UserError: an image cannot be read.
    """
    found = sums(source, config, note, products=config.normalize != "pixel_mean" or config.color_noise > 0.0)
    colors = found.colors() if config.color_noise > 0.0 else None
    if config.normalize == "pixel_mean":
        return Normalization(found.mean_image(), np.ones((1, 1, 1, 1)), colors)
    mean, std = found.channels()
    return Normalization(mean, std, colors)


@dataclass(frozen=True)
class Sums:
    """Exact sums over the pixels of N images [N, H, W, C] uint8."""

    images: int
    """The number of images, N."""
    image: npt.NDArray[np.int64]
    """[H, W, C], the sum of the images."""
    products: npt.NDArray[np.int64]
    """[C, C], the products of each two channels of a pixel, summed over all pixels of all images."""

    def mean_image(self) -> Floats:
        """The mean image [1, H, W, C], in units of pixels / 255."""
        return self.image[None] / (self.images * 255.0)

    def channels(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each channel, [1, 1, 1, C] each, in units of pixels / 255."""
        mean = (self.image.sum(axis=(0, 1)) / self._pixels).reshape(1, 1, 1, -1)
        std = np.sqrt(np.diagonal(self.products).reshape(1, 1, 1, -1) / self._pixels - np.square(mean))
        # A constant channel is not scaled.
        return mean / 255.0, np.where(std > 0.0, std / 255.0, 1.0)

    def components(self) -> tuple[Floats, Floats]:
        """The principal components of the colours of pixels / 255. The component with the largest variance is first.

        Returns:
          The variances [C], and the components [C, C] as columns. Each column is a vector of length 1. Its sign is
          chosen so that the sum of its entries is not negative.
        """
        mean = self.image.sum(axis=(0, 1)) / self._pixels
        covariance = (self.products / self._pixels - np.outer(mean, mean)) / 255.0**2
        values, vectors = np.linalg.eigh(covariance)  # in increasing order; the sign of each vector is arbitrary
        vectors = vectors * np.where(vectors.sum(axis=0) < 0.0, -1.0, 1.0)
        return np.maximum(values, 0.0)[::-1], vectors[:, ::-1]

    def colors(self) -> Floats:
        """The principal components as columns, each times its variance: [3, 3] (Krizhevsky et al. 2012, Sec. 4.1)."""
        variances, vectors = self.components()
        found: Floats = vectors * variances
        return found

    @property
    def _pixels(self) -> int:
        height, width, _ = self.image.shape
        return int(self.images * height * width)


def sums(source: Source, config: DataConfig, note: Note = lambda text: None, *, products: bool = True) -> Sums:
    """Sums the pixels of all training images in memory, or of `config.statistics_images` streamed training images.

    `products` says whether the caller needs `Sums.products`. If it is False, they may be zeros.

    Raises:
      UserError: an image cannot be read.
    """
    if isinstance(source, StreamSource):
        return kept(source, config, note)
    return measure(source, np.arange(len(source)), products=products)


def measure(
    source: Source,
    index: npt.NDArray[np.int64],
    *,
    products: bool = True,
    advance: Callable[[int], None] = lambda more: None,
) -> Sums:
    """Sums the pixels of the images whose positions in the source are `index` [n]. Images are not cropped at random.

    The images are read in groups. After each group, `advance` is called with the number of its images. If `products`
    is False, `Sums.products` is zeros.
    """
    channels = source.shape[2]
    image = np.zeros(source.shape, np.int64)
    total = np.zeros((channels, channels), np.int64)
    for images in _pieces(source, index):
        image += images.sum(axis=0, dtype=np.int64)
        # In float64, because its matrix products are fast, and integers below 2**53 are exact.
        flat = images.reshape(-1, channels)
        for start in range(0, len(flat) if products else 0, AT_ONCE):
            part = flat[start : start + AT_ONCE].astype(np.float64)
            total += np.rint(part.T @ part).astype(np.int64)
        advance(len(images))
    return Sums(len(index), image, total)


def kept(source: StreamSource, config: DataConfig, note: Note) -> Sums:
    """Sums the pixels of `config.statistics_images` streamed training images, or reads the sums from the cache.

    Raises:
      UserError: an image cannot be read.
    """
    count = min(config.statistics_images, len(source))
    key = cache.key(source.state, f"{source.shape} {config.eval_resize} {count}")
    file = cache.file("colours", "statistics", key)
    arrays = cache.read(file, key, note)
    if arrays is None:
        index = np.linspace(0, len(source) - 1, count).round().astype(np.int64)
        with progress.progress("measuring the colours of training images", count, note) as advance:
            found = measure(source, index, advance=advance)
        arrays = {"image": found.image, "products": found.products}
        cache.write(file, key, arrays, note)
    return Sums(count, arrays["image"], arrays["products"])


def _pieces(source: Source, index: npt.NDArray[np.int64]) -> Iterator[Images]:
    size = PIECE if len(index) == len(source) else STREAMED_PIECE
    parts = [index[start : start + size] for start in range(0, len(index), size)]
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        if following is not None:
            source.begin(following)
        yield source.take(part)
