"""What is known of streamed images before the first step: their headers, read once, and the listing's fingerprint."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnet_jax.config import DataConfig
from resnet_jax.data import Dataset, crops, decode, load
from resnet_jax.data.stream import StreamSource
from resnet_jax.errors import UserError
from tests.data.pictures import photo, streamed, write

pytestmark = pytest.mark.usefixtures("cache_home")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "pictures")


def heard(root: Path, **changes: Any) -> tuple[Dataset, list[str]]:
    told: list[str] = []
    return load(streamed(root, **changes), told.append), told


def test_headers_are_read_once_and_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, told = heard(root)
    assert sum("reading the headers" in line for line in told) == 1

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("an image was opened")

    monkeypatch.setattr(decode, "header", refuse)
    second, told = heard(root)
    assert not any("headers" in line for line in told)
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize("damage", [b"", b"PK", None])
def test_a_damaged_file_of_headers_is_made_again(root: Path, cache_home: Path, damage: bytes | None) -> None:
    first, _ = heard(root)
    (file,) = cache_home.glob("*headers*")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    second, told = heard(root)
    assert any("reading the headers" in line for line in told)
    assert second.fingerprint == first.fingerprint
    assert file.read_bytes() != damage


def test_a_file_that_is_no_image_stops_at_the_header_check_or_is_left_out(root: Path) -> None:
    bad = root / "train" / "n00000002" / "train_00003.JPEG"
    bad.write_bytes(b"not an image")
    for _ in range(2):  # the second time it is known from the file of headers
        with pytest.raises(UserError, match=r"n00000002/train_00003\.JPEG cannot be read as an image"):
            heard(root)
        dataset, told = heard(root, bad_images="skip")
        assert any("images that cannot be read, left out: 1 (" in line for line in told)
        assert len(dataset.train) == 11
        np.testing.assert_array_equal(dataset.train.labels, [0] * 4 + [1] * 4 + [2] * 3)


def test_a_class_without_a_readable_image(root: Path) -> None:
    for file in (root / "val" / "n00000001").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"no image of the class folder .*n00000001 can be read"):
        heard(root, bad_images="skip")


def test_the_fingerprint_is_that_of_the_listing(root: Path, tmp_path: Path) -> None:
    whole = heard(root)[0].fingerprint
    copy = Path(shutil.copytree(root, tmp_path / "elsewhere" / "copied", copy_function=shutil.copyfile))
    assert heard(copy)[0].fingerprint == whole
    assert load(DataConfig(source="folder", path=str(root), image_size=20)).fingerprint != whole
    (copy / "train" / "n00000000" / "train_00000.JPEG").rename(copy / "train" / "n00000000" / "zzz.JPEG")
    renamed = heard(copy)[0].fingerprint
    assert renamed != whole
    photo(80, 80, 3).save(copy / "val" / "n00000000" / "val_00000.JPEG")
    assert heard(copy)[0].fingerprint not in (whole, renamed)


def test_parts_are_of_the_same_images(root: Path) -> None:
    whole, held = heard(root)[0], heard(root, validation=3, split_seed=1)[0]
    assert isinstance(held.validation, StreamSource)
    everything = {image.tobytes() for image in whole.train.take(np.arange(12))}
    parts = [source.take(np.arange(len(source))) for source in (held.train, held.validation)]
    assert {image.tobytes() for part in parts for image in part} == everything
    assert [len(part) for part in parts] == [9, 3]


def failing(file: Path, error: OSError) -> Callable[[str | bytes], Any]:
    """decode._stream for a disk that fails at one file."""
    real = decode._stream

    def stream(place: str | bytes) -> Any:
        if place == str(file):
            raise error
        return real(place)

    return stream


def test_a_read_error_that_passes_is_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other headers are kept: at the next start the failed ones alone are read."""
    file = root / "train" / "n00000001" / "train_00002.JPEG"
    (root / "train" / "n00000002" / "train_00001.JPEG").write_bytes(b"not an image")
    with monkeypatch.context() as patch:
        patch.setattr(decode, "_stream", failing(file, OSError(errno.EIO, "Input/output error")))
        with pytest.raises(UserError, match=r"train_00002\.JPEG cannot be read as an image: Input/output error"):
            heard(root)
        dataset, told = heard(root, bad_images="skip")
    assert len(dataset.train) == 10
    assert any("left out: 2 (" in line for line in told)
    opened, real = [], decode.header

    def header(place: str | bytes) -> decode.Header:
        opened.append(place)
        return real(place)

    monkeypatch.setattr(decode, "header", header)
    dataset, told = heard(root, bad_images="skip")
    assert opened == [str(file)]
    assert len(dataset.train) == 11
    assert any("left out: 1 (train/n00000002/train_00001.JPEG" in line for line in told)


def test_a_read_error_that_passes_is_not_kept_with_decoded_images(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig(source="folder", path=str(root), image_size=20, bad_images="skip")
    file = root / "train" / "n00000001" / "train_00002.JPEG"
    with monkeypatch.context() as patch:
        patch.setattr(decode, "_stream", failing(file, OSError(errno.EIO, "Input/output error")))
        assert len(load(config).train) == 11
    assert len(load(config).train) == 12


def test_an_image_too_long_for_several_scales_is_found_at_once(root: Path) -> None:
    """At a scale of 640 it would have 2 billion pixels. Its crops are made without resizing all of it."""
    long = root / "val" / "n00000001" / "val_00001.JPEG"
    Image.new("RGB", (5, 25_000), (10, 200, 30)).save(long, quality=100)
    sentence = r"val_00001\.JPEG cannot be read as an image: it is so narrow \(5x25000 pixels\) that at the scale 640 "
    with pytest.raises(UserError, match=sentence + r"it would be 640x3200000 pixels.*'ten_crop' it can be used; "):
        heard(root, protocol="multi_scale")
    dataset, told = heard(root, protocol="multi_scale", bad_images="skip")
    assert len(dataset.test) == 5
    assert any("left out: 1 (val/n00000001/val_00001.JPEG" in line for line in told)
    for protocol in ("center", "ten_crop"):
        config = streamed(root, protocol=protocol, eval_resize=224, image_size=200, scales=(200, 224))
        source = load(config).test
        assert isinstance(source, StreamSource)
        (look,) = crops.passes(config)
        seen = source.views(np.array([3]), look)
        assert seen.shape == (1, 5 if protocol == "ten_crop" else 1, 200, 200, 3)
        assert np.abs(seen.astype(int) - [10, 200, 30]).max() <= 3  # JPEG's own rounding
