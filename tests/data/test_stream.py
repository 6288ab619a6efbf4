"""Streamed images: the same whatever else is asked for, Pillow's own pixels, and a sentence for each failure."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnet_jax.config import DataConfig
from resnet_jax.data import ArraySource, Draws, crops, decode, load
from resnet_jax.data.stream import SLOTS
from resnet_jax.errors import UserError
from tests.data.pictures import BATCH, batches, photo, streamed, train_source, write

pytestmark = pytest.mark.usefixtures("cache_home")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "pictures")


# --- the same images, always --------------------------------------------------------------------------------------


def test_a_step_does_not_depend_on_what_was_announced(root: Path) -> None:
    todo, source = batches(12, 0, 6), train_source(root)
    alone = [train_source(root).take(batch.index, Draws(0, batch.epoch)) for batch in todo]
    for batch in todo:  # more than there is room for
        source.begin(batch.index, Draws(0, batch.epoch))
    assert len(source._slots) == SLOTS
    for batch, images in zip(reversed(todo), reversed(alone), strict=True):
        np.testing.assert_array_equal(source.take(batch.index, Draws(0, batch.epoch)), images)


def test_rows_do_not_depend_on_what_else_is_taken(root: Path) -> None:
    """So each of several processes may make its own rows of a batch."""
    source, (batch,) = train_source(root), batches(12, 5, 1)
    whole = source.take(batch.index, Draws(0, batch.epoch))
    for rows in (slice(0, 3), slice(3, None)):
        np.testing.assert_array_equal(source.take(batch.index[rows], Draws(0, batch.epoch[rows])), whole[rows])


@pytest.mark.parametrize("crop", ["scale", "area"])
def test_crops_differ_by_seed_epoch_and_image_and_not_otherwise(root: Path, crop: Any) -> None:
    source = train_source(root, crop=crop, scales=(24, 40) if crop == "scale" else (256, 480))

    def crop_of(seed: int, epoch: int, index: int) -> bytes:
        return source.take(np.array([index]), Draws(seed, np.array([epoch]))).tobytes()

    found = {crop_of(seed, epoch, index) for seed in range(3) for epoch in range(3) for index in range(3)}
    assert len(found) == 27
    assert crop_of(2, 1, 0) == crop_of(2, 1, 0)


def test_fewer_images_than_a_batch(tmp_path: Path) -> None:
    root = write(tmp_path / "few", train=1, test=1, classes=2)
    source = train_source(root)
    (batch,) = batches(2, 0, 1)
    images = source.take(batch.index, Draws(0, batch.epoch))
    assert images.shape == (BATCH, 20, 20, 3)
    assert len({image.tobytes() for image in images}) == BATCH  # four epochs, each with crops of its own


# --- pixels -------------------------------------------------------------------------------------------------------


def test_evaluation_sees_what_images_in_memory_are(root: Path) -> None:
    memory = load(DataConfig(source="folder", path=str(root), image_size=20)).test
    stream = load(streamed(root, eval_resize=20)).test
    assert isinstance(memory, ArraySource)
    np.testing.assert_array_equal(stream.take(np.arange(len(stream))), memory.images)
    np.testing.assert_array_equal(stream.labels, memory.labels)


def test_images_of_other_kinds_become_colour(root: Path) -> None:
    """ImageNet has all three: CMYK JPEGs, grey JPEGs, and a PNG whose name ends in .JPEG."""
    folder = root / "train" / "n00000000"
    image = photo(60, 50, 1)
    image.convert("CMYK").save(folder / "train_00000.JPEG")
    image.convert("L").save(folder / "train_00001.JPEG")
    image.save(folder / "train_00002.JPEG", format="PNG")
    source = train_source(root)
    found = source.take(np.arange(3))
    for row, name in enumerate(["train_00000.JPEG", "train_00001.JPEG", "train_00002.JPEG"]):
        with Image.open(folder / name) as stored:
            resized = stored.convert("RGB").resize((28, 24), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(found[row], np.asarray(resized.crop((4, 2, 24, 22))))


def test_images_smaller_than_the_crop_are_enlarged(tmp_path: Path) -> None:
    root = write(tmp_path / "tiny")
    Image.new("RGB", (3, 5), (10, 200, 30)).save(root / "train" / "n00000000" / "train_00000.JPEG", quality=100)
    images = train_source(root).take(np.array([0, 0]), Draws(0, np.array([0, 1])))
    assert images.shape == (2, 20, 20, 3)
    assert np.abs(images.astype(int) - [10, 200, 30]).max() <= 3  # JPEG's own rounding


def test_a_very_long_image_is_cropped_without_being_enlarged_whole(tmp_path: Path) -> None:
    root = write(tmp_path / "long")
    Image.new("RGB", (20_000, 2), (10, 200, 30)).save(root / "train" / "n00000000" / "train_00000.JPEG", quality=100)
    source = train_source(root)
    assert source.take(np.array([0]), Draws(0, np.array([0]))).shape == (1, 20, 20, 3)


# --- what can go wrong during a run -------------------------------------------------------------------------------


def stopped(root: Path, spoil: Callable[[Path], Any], **changes: Any) -> str:
    """The sentence with which a batch ends whose first image was spoilt after the headers were read."""
    source = train_source(root, **changes)
    spoil(root / "train" / "n00000000" / "train_00000.JPEG")
    with pytest.raises(UserError) as caught:
        source.take(np.arange(12), Draws(0, np.zeros(12, int)))
    message = str(caught.value)
    assert "n00000000/train_00000.JPEG cannot be read as an image: " in message
    assert "the run stops" in message
    return message


def truncate(path: Path) -> None:
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("crop", ["scale", "center"])
def test_a_file_that_vanishes_or_changes(root: Path, crop: Any) -> None:
    scales = {"scales": (24, 40) if crop == "scale" else (256, 480)}
    copy = Path(shutil.copytree(root, root.parent / "copy"))
    assert "it could be read before" in stopped(root, Path.unlink, crop=crop, **scales)
    assert "has changed since the run began" in stopped(copy, lambda p: p.write_bytes(b"other"), crop=crop, **scales)


def test_an_image_whose_pixels_are_damaged_stops_the_run_and_is_not_skipped(root: Path) -> None:
    truncate(root / "train" / "n00000000" / "train_00000.JPEG")
    file = root / "train" / "n00000001" / "train_00001.JPEG"
    file.write_bytes(file.read_bytes()[:-300])  # its header is whole, so the check lets it pass
    source = train_source(root, bad_images="skip")
    assert len(source) == 12
    with pytest.raises(UserError, match=r"n00000001/train_00001\.JPEG cannot be read as an image: .*truncated"):
        source.take(np.arange(4, 8), Draws(0, np.zeros(4, int)))


def test_damage_within_a_jpeg_is_decoded_without_a_word(root: Path) -> None:
    """As docs/imagenet.md says: if Pillow becomes stricter, that page can promise more."""
    file = root / "train" / "n00000000" / "train_00000.JPEG"
    content = bytearray(file.read_bytes())
    whole = decode.views(bytes(content), None, channels=3)
    middle = len(content) * 2 // 3
    content[middle : middle + 64] = bytes(64)
    damaged = decode.views(bytes(content), None, channels=3)
    assert damaged.shape == whole.shape
    assert (damaged != whole).any()


def test_an_image_of_another_size_than_was_listed(root: Path) -> None:
    def swap(path: Path) -> None:
        status = path.stat()
        size = status.st_size
        for quality in range(95, 1, -1):
            photo(33, 31, 5).save(path, quality=quality)
            if path.stat().st_size <= size:
                break
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert "it is 33x31 pixels, and was" in stopped(root, swap)


def test_an_error_of_a_worker_reaches_the_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError("no more")

    source, real = train_source(root), decode.crop
    monkeypatch.setattr(decode, "crop", fail)
    with pytest.raises(MemoryError, match="no more"):
        source.take(np.arange(12), Draws(0, np.zeros(12, int)))
    monkeypatch.setattr(decode, "crop", real)  # the threads live on
    assert source.take(np.arange(12), Draws(0, np.zeros(12, int))).shape == (12, 20, 20, 3)


def test_what_is_under_way_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, gate = train_source(root, workers=1), threading.Event()
    real = decode.crop
    monkeypatch.setattr(decode, "crop", lambda *args, **kwargs: (gate.wait(60), real(*args, **kwargs))[1])
    for seed in range(10):
        source.begin(np.arange(12), Draws(seed, np.zeros(12, int)))
    assert len(source._slots) == SLOTS
    gate.set()
    source.take(np.arange(12), Draws(9, np.zeros(12, int)))
    assert len(source._slots) == 0
    assert source.waited_s > 0.0


def test_grey_images_stay_grey(tmp_path: Path) -> None:
    root = write(tmp_path / "grey", train=2, test=1, classes=2)
    for file in root.rglob("*.JPEG"):
        with Image.open(file) as image:
            grey = image.convert("L")
        grey.save(file)
    source = train_source(root)
    assert source.take(np.arange(4), Draws(0, np.zeros(4, int))).shape == (4, 20, 20, 1)


def test_geometry_is_a_pure_function(root: Path) -> None:
    config = streamed(root)
    once = [crops.training_crop(config, 1, 2, i, 500, 375) for i in range(50)]
    assert once == [crops.training_crop(config, 1, 2, i, 500, 375) for i in range(50)]
    assert len(set(once)) > 40
