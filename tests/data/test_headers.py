"""What is known of streamed images before the first step: their headers, read once, and the listing's fingerprint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnet_jax.config import (
    DataConfig,
)
from resnet_jax.data import Dataset, decode, load
from resnet_jax.data.stream import StreamSource
from resnet_jax.errors import UserError
from tests.data.pictures import photo, streamed, write


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "resnet_jax"


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
