"""Small folders of images, and how they are read, for the tests of folders."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnet_jax.config import DataConfig
from resnet_jax.data.dataset import Dataset
from resnet_jax.data.sources import folder
from resnet_jax.errors import UserError
from resnet_jax.text import Note

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def put(root: Path, name: str, image: Image.Image | np.ndarray | None = None, **options: Any) -> Path:
    """Saves an image, by default 6x4 pixels of noise; the format is the extension's."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if image is None:
        image = noise(4, 6, 3)
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)
    return path


def load(root: Path | str, told: list[str] | None = None, *, size: int | None = None, bad: Any = "stop") -> Dataset:
    note: Note = (lambda text: None) if told is None else told.append
    return folder.load(DataConfig(source="folder", path=str(root), image_size=size, bad_images=bad), note)


def refused(root: Path, sentence: str, **options: Any) -> str:
    with pytest.raises(UserError, match=sentence) as caught:
        load(root, **options)
    message = str(caught.value)
    assert len(re.findall(r"\.(?:\s|$)", message)) == 1, "one sentence"
    assert message.endswith(".")
    return message


def pillow(path: Path, mode: str) -> np.ndarray:
    """Pillow's own reading of a file."""
    with Image.open(path) as image:
        return np.asarray(image.convert(mode))


def first(data: Dataset) -> np.ndarray:
    """The first training image."""
    return data.train.images[0]
