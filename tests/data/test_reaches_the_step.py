"""What a compiled step is given: from each source and by either feed, the pixels that Pillow and NumPy read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from resnet_jax.config import DataConfig, ParallelConfig
from resnet_jax.data import load
from resnet_jax.data.order import Batch
from resnet_jax.training.feed import FromHost, OnDevice, feed
from resnet_jax.training.mesh import devices
from tests.data.prepared import examples, random_images, write

TEN = 10
TRAIN, TEST = random_images(TEN, (6, 5, 3)), random_images(TEN, (6, 5, 3), seed=1)
LABELS = np.arange(TEN) % 3


def from_npz(path: Path) -> DataConfig:
    np.savez(path / "x.npz", train_images=TRAIN, train_labels=LABELS, test_images=TEST, test_labels=LABELS)
    return DataConfig(source="npz", path=str(path / "x.npz"))


def from_folder(path: Path) -> DataConfig:
    for part, images in (("train", TRAIN), ("test", TEST)):
        for i in range(TEN):
            file = path / part / f"class {LABELS[i]}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[i]).save(file)
    return DataConfig(source="folder", path=str(path))


def from_tfds(path: Path) -> DataConfig:
    write(path, {"train": examples(TRAIN), "test": examples(TEST)}, name="my_own")
    return DataConfig(source="tfds", name="my_own", path=str(path))


# The first images of each source in the order that it gives them; [N, H, W, C] and labels, training and test.
BY_CLASS = np.argsort(LABELS, kind="stable")
EXPECTED: dict[Callable[[Path], DataConfig], tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    from_npz: ((TRAIN, LABELS), (TEST, LABELS)),
    from_folder: ((TRAIN[BY_CLASS], LABELS[BY_CLASS]), (TEST[BY_CLASS], LABELS[BY_CLASS])),
    from_tfds: ((TRAIN, LABELS), (TEST, LABELS)),
}


def given(config: DataConfig, placement: Literal["device", "host"], index: np.ndarray) -> list[tuple[Any, Any]]:
    """Images and labels within compiled steps on two devices: those at `index` of training, then of test."""
    dataset, where = load(config), devices(ParallelConfig(mode="jit", devices=2))
    source = feed(DataConfig(placement=placement), dataset, where, 0)
    assert isinstance(source, OnDevice if placement == "device" else FromHost)
    state, key = where.replicate_state(np.float32(0)), where.replicate(np.float32(0))
    at = where.shard(source.train(Batch(index, np.zeros_like(index))))

    def train(state: Any, at: Any, key: Any, *fixed: Any) -> Any:
        batch = source.train_batch(at, *fixed)
        return batch.images, batch.labels

    def evaluate(state: Any, at: Any, *fixed: Any) -> Any:
        batch = source.eval_batch(at, *fixed)
        return batch.images, batch.labels

    found = [where.compile(train, state, at, key, *source.fixed, donate_state=False)(state, at, key, *source.fixed)]
    at = where.shard(source.evaluate("test", index, np.ones(len(index), np.float32)))
    found.append(where.compile(evaluate, state, at, *source.fixed, donate_state=False)(state, at, *source.fixed))
    return [where.fetch(pair) for pair in found]


def check(found: tuple[Any, Any], images: np.ndarray, labels: np.ndarray) -> None:
    assert (found[0].dtype, found[1].dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(found[0], images)
    np.testing.assert_array_equal(found[1], labels)


@pytest.mark.parametrize("placement", ["device", "host"])
@pytest.mark.parametrize("source", EXPECTED)
def test_ten_images_reach_the_step_as_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Callable[[Path], DataConfig], placement: Any
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    config = source(tmp_path / "data")
    index = np.random.default_rng(0).permutation(TEN).astype(np.int32)
    for _ in range(2):  # the second finds a folder's images in the cache
        for found, (images, labels) in zip(given(config, placement, index), EXPECTED[source], strict=True):
            check(found, images[index], labels[index])


@pytest.mark.parametrize("placement", ["device", "host"])
def test_ten_digits_reach_the_step_as_scikit_learn_has_them(placement: Any) -> None:
    """By the pixels, for the split has an order of its own: 0..16 stretched to 0..255, each with its label."""
    pixels, targets = load_digits(return_X_y=True)
    stretched = np.rint(pixels * (255 / 16)).astype(np.uint8)
    known = {image.tobytes(): label for image, label in zip(stretched, targets, strict=True)}
    index = np.arange(7, 7 + 30 * TEN, 30, dtype=np.int32)
    for images, labels in given(DataConfig(source="digits"), placement, index):
        assert (images.shape, images.dtype, labels.dtype) == ((TEN, 8, 8, 1), np.uint8, np.int32)
        assert [known[image.tobytes()] for image in images] == labels.tolist()
