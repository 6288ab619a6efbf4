"""Small folders of photographs of several sizes, for the tests of streamed data."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from resnet_jax.config import DataConfig
from resnet_jax.data import load
from resnet_jax.data.order import Batch, training_batches
from resnet_jax.data.stream import StreamSource

BATCH = 8
PHOTOS = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]


def photo(width: int, height: int, seed: int) -> Image.Image:
    """A random part of a real photograph."""
    draw = np.random.default_rng(seed)
    whole = Image.fromarray(PHOTOS[seed % 2])
    wide, tall = min(2 * width, whole.width), min(2 * height, whole.height)
    left, top = (int(draw.integers(n + 1)) for n in (whole.width - wide, whole.height - tall))
    return whole.resize((width, height), Image.Resampling.BICUBIC, box=(left, top, left + wide, top + tall))


def write(root: Path, *, train: int = 4, test: int = 2, classes: int = 3, test_folder: str = "val") -> Path:
    """<root>/{train,val}/n00000000/..., JPEGs of 40 to 90 pixels a side."""
    draw = np.random.default_rng(0)
    number = 0
    for part, count in (("train", train), (test_folder, test)):
        for label in range(classes):
            folder = root / part / f"n{label:08d}"
            folder.mkdir(parents=True)
            for i in range(count):
                width, height = (int(n) for n in draw.integers(40, 91, 2))
                photo(width, height, number).save(folder / f"{part}_{i:05d}.JPEG", quality=90)
                number += 1
    return root


def streamed(root: Path, **changes: Any) -> DataConfig:
    """The paper's crops at a small size: shorter side from 24 to 40 pixels, 20x20."""
    settings: dict[str, Any] = {"image_size": 20, "eval_resize": 24, "crop": "scale", "scales": (24, 40)}
    settings |= {"normalize": "channel_mean_std", "flip": True, "statistics_images": 6}
    return DataConfig(source="folder", path=str(root), stream=True, **{**settings, **changes})


def train_source(root: Path, **changes: Any) -> StreamSource:
    """The training images of a folder, as `streamed` reads them."""
    source = load(streamed(root, **changes)).train
    assert isinstance(source, StreamSource)
    return source


def batches(examples: int, first_step: int, steps: int, seed: int = 0) -> list[Batch]:
    """So many training batches of BATCH images."""
    order = training_batches(seed=seed, examples=examples, batch_size=BATCH, first_step=first_step)
    return list(itertools.islice(order, steps))
