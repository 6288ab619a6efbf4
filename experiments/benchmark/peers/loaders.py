"""Image loaders that use other libraries. The benchmark compares their speed with the speed of this project's loader.

All loaders make the same kind of random crops, and have the same arguments:

| argument  | meaning                                                                     |
|-----------|-----------------------------------------------------------------------------|
| `paths`   | paths of the images                                                         |
| `size`    | height and width of the crops in pixels                                     |
| `scales`  | smallest and largest length of an image's shorter side, in pixels           |
| `batch`   | number of images in a batch                                                 |
| `workers` | number of threads or processes that load images                             |

A loader yields the number of images in each batch. It never ends.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image


def naive(paths: list[str], size: int, scales: tuple[int, int], batch: int, workers: int) -> Iterator[int]:
    """Loads with Pillow in `workers` threads; resizes the whole image before the crop."""

    def one(path: str) -> Any:
        return np.asarray(_resize_and_crop(path, size, scales))

    with ThreadPoolExecutor(workers) as pool:
        for part in _endless(paths, batch):
            yield len(np.stack(list(pool.map(one, part))))


def torchvision(paths: list[str], size: int, scales: tuple[int, int], batch: int, workers: int) -> Iterator[int]:
    """Loads with torchvision's transforms in a DataLoader with `workers` processes."""
    import torch
    from torchvision.transforms import v2

    class Pictures(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, i: int) -> Any:
            with Image.open(paths[i]) as image:
                side = int(np.random.randint(scales[0], scales[1] + 1))  # noqa: NPY002  # as users of it do
                return v2.PILToTensor()(v2.RandomCrop(size)(v2.Resize(side)(image.convert("RGB"))))

    while True:
        for images in torch.utils.data.DataLoader(Pictures(), batch, shuffle=True, num_workers=workers, drop_last=True):
            yield len(images)


def grain(paths: list[str], size: int, scales: tuple[int, int], batch: int, workers: int) -> Iterator[int]:
    """Loads with grain in `workers` threads; resizes the whole image with Pillow before the crop."""
    import grain

    data = grain.MapDataset.source(paths).shuffle(seed=0).repeat()
    images = data.map(lambda path: np.asarray(_resize_and_crop(path, size, scales))).to_iter_dataset(
        grain.ReadOptions(num_threads=workers)
    )
    for found in images.batch(batch):
        yield len(found)


def tf_data(paths: list[str], size: int, scales: tuple[int, int], batch: int, workers: int) -> Iterator[int]:
    """Loads with tf.data: TensorFlow's JPEG decoder, and a resize without antialiasing before the crop."""
    import tensorflow as tf

    def one(path: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        shape = tf.cast(tf.shape(image)[:2], tf.float32)
        side = tf.cast(tf.random.uniform([], scales[0], scales[1] + 1, tf.int32), tf.float32)
        whole = tf.cast(tf.math.ceil(shape * side / tf.reduce_min(shape)), tf.int32)
        resized = tf.image.resize(image, whole, "bilinear")
        return tf.cast(tf.image.random_crop(resized, (size, size, 3)), tf.uint8)

    data = tf.data.Dataset.from_tensor_slices(paths).repeat().shuffle(4 * batch)
    for images in data.map(one, num_parallel_calls=workers).batch(batch).prefetch(2):
        yield len(images)


def _resize_and_crop(path: str, size: int, scales: tuple[int, int]) -> Image.Image:
    draw = np.random.default_rng()
    with Image.open(path) as stored:
        image = stored.convert("RGB")
    side, shorter = int(draw.integers(scales[0], scales[1] + 1)), min(image.size)
    width, height = (int(length * side / shorter) for length in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = int(draw.integers(image.width - size + 1)), int(draw.integers(image.height - size + 1))
    return image.crop((left, top, left + size, top + size))


def _endless(paths: list[str], batch: int) -> Iterator[list[str]]:
    draw = np.random.default_rng(0)
    while True:
        order = draw.permutation(len(paths)).tolist()
        for start in range(0, len(order) - batch + 1, batch):
            yield [paths[i] for i in order[start : start + batch]]


PEERS: dict[str, tuple[str | None, Callable[[list[str], int, tuple[int, int], int, int], Iterator[int]]]] = {
    "resize, then crop": (None, naive),
    "torchvision": ("torchvision", torchvision),
    "grain": ("grain", grain),
    "tf.data": ("tensorflow", tf_data),
}
"""For each loader: the module that must be installed (None: Pillow is enough), and the function."""
