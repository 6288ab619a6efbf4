"""Image folders: pixels are Pillow's own, the second start is the first's equal, and bad input ends in a sentence."""

from __future__ import annotations

import errno
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from resnet_jax.data import cache, decode, listing, memory, threads
from resnet_jax.data.dataset import Dataset
from resnet_jax.data.sources import folder
from resnet_jax.errors import UserError

RNG = np.random.default_rng(0)
Tell = Callable[[str], None]


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "resnet_jax"


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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, three training images and one test image each."""
    for name in ("cat", "dog"):
        for i in range(3):
            put(tmp_path / "pets", f"train/{name}/{i}.png")
        put(tmp_path / "pets", f"test/{name}/0.png")
    return tmp_path / "pets"


def load(root: Path, told: list[str] | None = None, *, size: int | None = None, bad: str = "stop") -> Dataset:
    tell: Tell = (lambda text: None) if told is None else told.append
    return folder.read(str(root), image_size=size, bad_images=bad, tell=tell)


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


# Layout


def test_images_come_in_the_order_of_their_names(root: Path) -> None:
    told: list[str] = []
    data = load(root, told)
    assert data.name == "pets (folder)"
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for split, part, numbers in ((data.train, "train", range(3)), (data.test, "test", range(1))):
        paths = [root / part / name / f"{i}.png" for name in ("cat", "dog") for i in numbers]
        np.testing.assert_array_equal(split.images, np.stack([pillow(path, "RGB") for path in paths]))
    assert told[-1] == "pets (folder): 6 training and 2 test images, 4x6x3, 2 classes: cat, dog."


def test_many_classes_are_abbreviated(tmp_path: Path) -> None:
    for i in range(12):
        for part in ("train", "test"):
            put(tmp_path / "many", f"{part}/c{i:02}/a.png")
    told: list[str] = []
    load(tmp_path / "many", told)
    assert told[-1].endswith("12 classes: c00, c01, c02, c03, c04, c05, c06, c07, c08, c09 and 2 more.")


def test_the_path_may_end_in_a_slash_or_start_with_the_home(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    for path in (f"{root}/", "~/pets"):
        data = folder.read(path, image_size=None, bad_images="stop", tell=lambda text: None)
        assert data.name == "pets (folder)"


def test_val_serves_where_there_is_no_test(root: Path) -> None:
    expected = load(root).test.images
    (root / "test").rename(root / "val")
    np.testing.assert_array_equal(load(root).test.images, expected)


def test_of_test_and_val_test_is_used_and_told(root: Path) -> None:
    for name in ("cat", "dog"):
        put(root, f"val/{name}/0.png")
    told: list[str] = []
    data = load(root, told)
    assert told[0].endswith("has both test and val: test serves as the test set.")
    np.testing.assert_array_equal(data.test.images[0], pillow(root / "test/cat/0.png", "RGB"))


def test_a_test_folder_without_labels_leaves_val(root: Path) -> None:
    # As ImageNet has it.
    (root / "test").rename(root / "val")
    put(root, "test/0.png")
    told: list[str] = []
    load(root, told)
    assert told[0].endswith("val serves as the test set.")


def test_what_is_no_image_is_passed_over_and_counted(root: Path) -> None:
    expected = load(root)
    put(root, "train/cat/deeper/0.png")
    put(root, "train/.hidden/0.png")
    put(root, "train/cat/.0.png")
    put(root, "train/0.png")
    (root / "train/cat/Thumbs.db").write_bytes(b"x")
    (root / "test/dog/notes.txt").write_text("x")
    os.mkfifo(root / "train/cat/pipe.png")
    told: list[str] = []
    np.testing.assert_array_equal(load(root, told).train.images, expected.train.images)
    assert told[0] == (
        f"passed over in {root}: 1 folders inside a class (train/cat/deeper), "
        "2 hidden (train/.hidden and 1 more), 2 not images by their names (train/cat/Thumbs.db and 1 more), "
        "1 not regular files (train/cat/pipe.png), 1 outside the class folders (train/0.png)."
    )


def test_links_are_followed(root: Path) -> None:
    elsewhere = root.parent / "elsewhere"
    expected = load(root).train.images
    (root / "train/cat").rename(elsewhere)
    (root / "train/cat").symlink_to(elsewhere)
    (root / "train/dog/0.png").rename(root.parent / "x.png")
    (root / "train/dog/0.png").symlink_to(root.parent / "x.png")
    (root / "train/loop").symlink_to(root / "train/loop")
    np.testing.assert_array_equal(load(root).train.images, expected)


# Pixels


def palette(h: int, w: int) -> Image.Image:
    image = Image.fromarray(noise(h, w)).convert("P")
    image.putpalette(noise(256, 3).tobytes())
    return image


COLOUR: dict[str, tuple[str, Callable[[], Image.Image], dict[str, Any]]] = {
    "RGB": ("png", lambda: Image.fromarray(noise(7, 9, 3)), {}),
    "RGB JPEG": ("JPG", lambda: Image.fromarray(noise(7, 9, 3)), {"quality": 80}),
    "RGB WebP": ("webp", lambda: Image.fromarray(noise(7, 9, 3)), {}),
    "RGB BMP": ("bmp", lambda: Image.fromarray(noise(7, 9, 3)), {}),
    "RGB PPM": ("ppm", lambda: Image.fromarray(noise(7, 9, 3)), {}),
    "RGB with a transparent colour": ("png", lambda: Image.fromarray(noise(7, 9, 3)), {"transparency": (1, 2, 3)}),
    "RGBA": ("png", lambda: Image.fromarray(noise(7, 9, 4)), {}),
    "RGBA WebP": ("webp", lambda: Image.fromarray(noise(7, 9, 4)), {"lossless": True}),
    "RGBA TIFF": ("tiff", lambda: Image.fromarray(noise(7, 9, 4)), {}),
    "P": ("png", lambda: palette(7, 9), {}),
    "P with a transparent colour": ("png", lambda: palette(7, 9), {"transparency": 5}),
    "P with alpha": ("png", lambda: palette(7, 9), {"transparency": bytes(range(256))}),
    "P GIF": ("gif", lambda: palette(7, 9), {}),
    "CMYK JPEG": ("jpeg", lambda: Image.fromarray(noise(7, 9, 4)).convert("RGB").convert("CMYK"), {}),
    "CMYK TIFF": ("tif", lambda: Image.frombytes("CMYK", (9, 7), noise(7, 9, 4).tobytes()), {}),
    "YCbCr TIFF": ("tif", lambda: Image.frombytes("YCbCr", (9, 7), noise(7, 9, 3).tobytes()), {}),
}
GREY: dict[str, tuple[str, Callable[[], Image.Image], dict[str, Any]]] = {
    "L": ("png", lambda: Image.fromarray(noise(7, 9)), {}),
    "L JPEG": ("jpg", lambda: Image.fromarray(noise(7, 9)), {}),
    "L PPM": ("ppm", lambda: Image.fromarray(noise(7, 9)), {}),
    "L with a transparent grey": ("png", lambda: Image.fromarray(noise(7, 9)), {"transparency": 5}),
    "1": ("png", lambda: Image.fromarray(noise(7, 9) > 127), {}),
    "LA": ("png", lambda: Image.frombytes("LA", (9, 7), noise(7, 9, 2).tobytes()), {}),
}


def ten(tmp_path: Path, form: tuple[str, Callable[[], Image.Image], dict[str, Any]]) -> tuple[Path, list[Path]]:
    """Ten images of a form, in two classes, training and test."""
    extension, make, options = form
    names = [f"{part}/{c}/{i}.{extension}" for part, n in (("train", 4), ("test", 1)) for c in "ab" for i in range(n)]
    return tmp_path / "ten", [put(tmp_path / "ten", name, make(), **options) for name in names]


@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")  # of Pillow's, in the expectation
@pytest.mark.parametrize("form", COLOUR)
def test_ten_colour_images_equal_pillows_own(tmp_path: Path, form: str) -> None:
    root, paths = ten(tmp_path, COLOUR[form])
    data = load(root)
    assert data.image_shape == (7, 9, 3)
    expected = np.stack([pillow(path, "RGB") for path in paths])
    np.testing.assert_array_equal(np.concatenate([data.train.images, data.test.images]), expected)


@pytest.mark.parametrize("form", GREY)
def test_ten_grey_images_equal_pillows_own(tmp_path: Path, form: str) -> None:
    root, paths = ten(tmp_path, GREY[form])
    data = load(root)
    assert data.image_shape == (7, 9, 1)
    expected = np.stack([pillow(path, "L") for path in paths])
    np.testing.assert_array_equal(np.concatenate([data.train.images, data.test.images])[..., 0], expected)


@pytest.mark.parametrize("extension", ["png", "tif", "ppm"])
def test_16_bit_grey_is_scaled(tmp_path: Path, extension: str) -> None:
    # By hand: 255 * 257 = 65535; 128 / 257 is just below a half, 129 / 257 just above; 0x1234 / 257 = 18.13.
    values = np.array([[0, 128, 129, 257], [0x1234, 385, 386, 65535]], np.uint16)
    expected = [[0, 0, 1, 1], [18, 1, 2, 255]]
    for name in ("train/a", "train/b", "test/a", "test/b"):
        put(tmp_path / "deep", f"{name}/0.{extension}", values)
    assert first(load(tmp_path / "deep"))[..., 0].tolist() == expected
    # Beside one colour image grey ones become colour too.
    put(tmp_path / "deep", "test/b/1.png", noise(2, 4, 3))
    image = first(load(tmp_path / "deep"))
    assert image.shape == (2, 4, 3)
    assert (image == np.array(expected)[..., None]).all()


def test_every_16_bit_value_is_rounded() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = decode._eight_bits(Image.fromarray(values), "L")
    np.testing.assert_array_equal(np.asarray(image), np.rint(values / 257.0))


def test_grey_among_colour_becomes_colour(root: Path) -> None:
    grey = noise(4, 6)
    put(root, "train/cat/0.png", grey)
    np.testing.assert_array_equal(first(load(root)), np.repeat(grey[..., None], 3, axis=2))


def test_of_an_animation_the_first_frame_is_taken(root: Path) -> None:
    frames = [Image.fromarray(noise(4, 6)) for _ in range(3)]
    put(root, "train/cat/0.gif", frames[0], save_all=True, append_images=frames[1:])
    (root / "train/cat/0.png").unlink()
    np.testing.assert_array_equal(first(load(root))[..., 1], np.asarray(frames[0]))


def test_the_content_decides_whatever_the_name_says(root: Path) -> None:
    pixels = noise(4, 6, 3)
    put(root, "train/cat/0.png", pixels).rename(root / "train/cat/0.JPEG")
    np.testing.assert_array_equal(first(load(root)), pixels)


# What each EXIF orientation asks for, in NumPy.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_exif_orientation_is_applied(root: Path, orientation: int, extension: str) -> None:
    upright = noise(4, 6, 3)
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(UPRIGHT[inverse](upright))
    (root / "train/cat/0.png").unlink()
    put(root, f"train/cat/0.{extension}", stored, exif=exif)
    # Without a size all must be 4x6: so the header's size is the upright one too.
    np.testing.assert_array_equal(first(load(root)), upright)
    assert first(load(root, size=4)).tolist() == upright[:, 1:5].tolist()


def test_damaged_exif_data_do_no_harm(root: Path) -> None:
    put(root, "train/cat/0.jpg", exif=b"Exif\0\0garbage that is no TIFF header")
    load(root)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(40, 61, 16), (61, 40, 16), (16, 16, 16), (16, 21, 16), (5, 7, 16), (33, 33, 8)]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_resizing_is_pillows_bilinear_and_the_middle(
    tmp_path: Path, height: int, width: int, size: int, mode: str
) -> None:
    image = palette(height, width) if mode == "P" else Image.fromarray(noise(height, width, 3)).convert(mode)
    for name in ("train/a", "train/b", "test/a", "test/b"):
        put(tmp_path / "big", f"{name}/0.png", image)
    got = first(load(tmp_path / "big", size=size))
    # torchvision's Resize: the longer side rounded down.
    w, h = (size, size * height // width) if width < height else (size * width // height, size)
    resized = image.convert("L" if mode == "L" else "RGB").resize((w, h), Image.Resampling.BILINEAR)
    whole = np.asarray(resized).reshape(h, w, -1)
    top, left = round((h - size) / 2), round((w - size) / 2)
    np.testing.assert_array_equal(got, whole[top : top + size, left : left + size])


def test_images_of_all_sizes_can_be_resized(root: Path) -> None:
    put(root, "train/cat/0.png", noise(50, 20, 3))
    assert load(root, size=4).image_shape == (4, 4, 3)


def test_more_images_than_a_chunk_keep_their_order(tmp_path: Path) -> None:
    count = 2 * threads.CHUNK + 5
    for name in ("train/a", "train/b", "test/a", "test/b"):
        for i in range(count if name == "train/a" else 1):
            put(tmp_path / "many", f"{name}/{i:03}.png", np.full((1, 1), i, np.uint8))
    data = load(tmp_path / "many")
    assert data.train.images[:count].ravel().tolist() == list(range(count))


# Cache


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forbid() -> None:
        def fail(*args: Any, **options: Any) -> None:
            raise AssertionError("an image was opened")

        monkeypatch.setattr(Image, "open", fail)

    return forbid


def the_cache(home: Path) -> Path:
    (path,) = home.iterdir()
    return path


def same(a: Dataset, b: Dataset) -> bool:
    return a.name == b.name and a.fingerprint == b.fingerprint


@pytest.mark.parametrize("size", [None, 3])
def test_the_second_start_opens_no_image(root: Path, no_decoder: Callable[[], None], size: int | None) -> None:
    told: list[str] = []
    data = load(root, told, size=size)
    assert any(line.startswith("kept for the next start in ") for line in told)
    no_decoder()
    again: list[str] = []
    assert same(load(root, again, size=size), data)
    assert again == told[-1:]  # the classes, and no more


def test_what_was_skipped_is_told_from_the_cache_too(root: Path, no_decoder: Callable[[], None]) -> None:
    (root / "train/cat/1.png").write_bytes(b"")
    load(root, bad="skip")
    no_decoder()
    told: list[str] = []
    load(root, told, bad="skip")
    assert told[0] == "images that cannot be read, left out: 1 (train/cat/1.png (it is empty (0 bytes)))."


def touch(root: Path) -> None:
    path = root / "test/dog/0.png"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def change(root: Path) -> None:
    path, times = root / "train/cat/1.png", (root / "train/cat/1.png").stat()
    put(root, "train/cat/1.png", np.zeros((4, 6, 3), np.uint8))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # the size alone tells


def rewrite(root: Path) -> None:
    path, times = root / "train/cat/1.bmp", (root / "train/cat/1.bmp").stat()
    path.write_bytes(path.read_bytes()[:-60] + noise(60).tobytes())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def replace(root: Path) -> None:
    new = put(root.parent, "new.bmp")
    os.utime(new, ns=(0, 0))
    new.replace(root / "train/cat/1.bmp")


def swap(root: Path) -> None:
    for old, new in (("cat", "x"), ("dog", "cat"), ("x", "dog")):
        (root / "train" / old).rename(root / "train" / new)


@pytest.mark.parametrize("alter", [rewrite, replace, swap])
def test_equal_names_sizes_and_times_do_not_hide_other_pixels(tmp_path: Path, alter: Callable[[Path], Any]) -> None:
    """As after unpacking an archive: BMP files of one size and one time."""
    root = tmp_path / "pets"
    paths = [root / f"{part}/{name}/{i}.bmp" for part in ("train", "test") for name in ("cat", "dog") for i in range(3)]
    for path in paths:
        os.utime(put(root, str(path.relative_to(root))), ns=(0, 0))
    before = load(root)
    alter(root)
    assert len({(path.stat().st_size, path.stat().st_mtime_ns) for path in paths}) == 1
    data = load(root)
    assert not same(data, before)
    np.testing.assert_array_equal(data.train.images, np.stack([pillow(path, "RGB") for path in paths[:6]]))


@pytest.mark.parametrize(
    "alter",
    [
        touch,
        change,
        lambda root: put(root, "train/cat/3.png"),
        lambda root: (root / "train/cat/2.png").unlink(),
        lambda root: (root / "train/cat/2.png").rename(root / "train/cat/3.png"),
    ],
    ids=["touched", "changed", "added", "removed", "renamed"],
)
def test_a_changed_folder_is_read_again(root: Path, cache_home: Path, alter: Callable[[Path], Any]) -> None:
    load(root)
    alter(root)
    told: list[str] = []
    data = load(root, told)
    assert re.search(r"is dropped, for the images, or the way to read them, have changed since; .* read again", told[0])
    np.testing.assert_array_equal(data.train.images[1], pillow(root / "train/cat/1.png", "RGB"))
    the_cache(cache_home)  # one file: the old one is replaced
    assert same(load(root), data)


def test_another_pillow_reads_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(root)
    monkeypatch.setattr(PIL, "__version__", "0.0")
    told: list[str] = []
    load(root, told)
    assert "have changed since" in told[0]


def test_each_size_and_choice_has_a_cache_of_its_own(root: Path, cache_home: Path) -> None:
    for size, bad in ((None, "stop"), (3, "stop"), (None, "skip")):
        load(root, size=size, bad=bad)
    assert len(list(cache_home.iterdir())) == 3


@pytest.mark.parametrize("order", [(None, 5), (5, None)])
def test_a_size_that_images_have_already_makes_no_second_cache(
    tmp_path: Path, cache_home: Path, no_decoder: Callable[[], None], order: tuple[int | None, int | None]
) -> None:
    for name in ("train/a", "train/b", "test/a", "test/b"):
        put(tmp_path / "square", f"{name}/0.png", noise(5, 5, 3))
    data = load(tmp_path / "square", size=order[0])
    smaller = load(tmp_path / "square", size=3)
    assert smaller.image_shape == (3, 3, 3)
    no_decoder()
    assert same(load(tmp_path / "square", size=order[1]), data)
    assert same(load(tmp_path / "square", size=3), smaller)
    assert sorted(path.name.split("-")[1] for path in cache_home.iterdir()) == ["3", "as"]


@pytest.mark.parametrize("cut", [1, 33, 200, 400])
def test_a_truncated_cache_is_dropped(root: Path, cache_home: Path, cut: int) -> None:
    data = load(root)
    path = the_cache(cache_home)
    path.write_bytes(path.read_bytes()[:-cut])
    told: list[str] = []
    assert same(load(root, told), data)
    assert "is dropped, for it is truncated" in told[0]


def test_a_longer_and_an_empty_cache_are_dropped(root: Path, cache_home: Path) -> None:
    data = load(root)
    content = the_cache(cache_home).read_bytes()
    for damaged in (content + b"x", b"", b"\xff\n" * 10, cache.MAGIC + b"[]\n", cache.MAGIC + b'{"train": [1, 2]}\n'):
        the_cache(cache_home).write_bytes(damaged)
        told: list[str] = []
        assert same(load(root, told), data)
        assert "is dropped" in told[0]


def test_a_flipped_bit_anywhere_in_the_cache_is_seen(root: Path, cache_home: Path) -> None:
    found = listing.scan(str(root))
    key = cache.fingerprint((*found.train, *found.test), image_size=None, bad_images="stop")
    load(root)
    path = the_cache(cache_home)
    content = path.read_bytes()
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        told: list[str] = []
        assert cache.read(path, key, told.append) is None
        assert len(told) == 1
        assert not path.exists()


def full(*args: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing_behind(
    root: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    told: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(cache.os, call, full)
        data = load(root, told)
    assert len(data.train) == 6
    (line,) = [line for line in told if "cannot be kept" in line]
    assert "(No space left on device), so the next start decodes them again." in line
    assert list(cache_home.iterdir()) == []


def test_a_disk_without_room_is_not_filled(root: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage)
    told: list[str] = []
    load(root, told)
    assert any("No space left on device" in line for line in told)
    assert list(cache_home.iterdir()) == []


def test_an_interrupted_write_leaves_nothing_behind(
    root: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(root)
    assert list(cache_home.iterdir()) == []


def test_parts_of_a_killed_process_are_swept(root: Path, cache_home: Path) -> None:
    load(root)
    place = the_cache(cache_home)
    gone = subprocess.Popen(["true"])
    gone.wait()
    mine = cache._family(place)
    starts = [f"{mine}{gone.pid}", f"{mine}{os.getpid()}"]
    others = [f"{place.name}.another-machine.{gone.pid}", f"other{mine}{gone.pid}"]
    for start in starts + others:
        (cache_home / f"{start}.abc.tmp").write_bytes(b"part")
    place.unlink()
    load(root)
    left = sorted(path.name for path in cache_home.iterdir() if path != place)
    assert left == sorted(f"{start}.abc.tmp" for start in starts[1:] + others)


def test_a_kill_while_writing_leaves_a_part_that_the_next_start_sweeps(root: Path, cache_home: Path) -> None:
    program = f"""
import os, signal
from resnet_jax.data import cache
from resnet_jax.data.sources import folder
cache.os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
folder.read({str(root)!r}, image_size=None, bad_images="stop", tell=print)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -signal.SIGKILL
    assert the_cache(cache_home).suffix == ".tmp"
    load(root)
    assert the_cache(cache_home).suffix == ".images"


def test_a_cache_folder_that_cannot_be_made(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    told: list[str] = []
    load(root, told)
    assert any("cannot be kept in" in line and "Not a directory" in line for line in told)


def test_without_a_cache_home_the_homes_own_is_used(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        place = cache.place(str(root), image_size=32, bad_images="stop")
        assert place.parent == tmp_path / "home/.cache/resnet_jax"
        assert place.name.startswith("pets-32-")


def test_no_home_at_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(cache.Path, "home", homeless)
    told: list[str] = []
    load(root, told)
    assert told[0] == "no home folder is known, so the decoded images are not kept for the next start."


# Bad input


def test_a_missing_folder_and_a_file(tmp_path: Path) -> None:
    refused(tmp_path / "none", r"data\.path: got '.*', but it does not exist; give a folder")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "but it is not a folder")


def test_no_train_and_no_test(root: Path) -> None:
    (root / "train").rename(root / "training")
    refused(root, "has no folder train; folders there: test, training; needed: train/<class>/ and test/<class>/")
    (root / "training").rename(root / "train")
    (root / "test").rename(root / "testing")
    refused(root, "has neither a folder test nor a folder val; folders there: testing, train")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no folder is there")


def test_no_class_folders(root: Path) -> None:
    for part in ("train", "test"):
        put(root.parent / "flat", f"{part}/0.png")
    refused(root.parent / "flat", "flat/train has no class folders; needed: train/<class>/<image>")


@pytest.mark.parametrize("part", ["train", "test"])
def test_an_empty_class(root: Path, part: str) -> None:
    (root / part / "emu").mkdir()
    refused(root, f"class folder .*{part}/emu has no images; fill it, or remove it")


def test_one_class_only(root: Path) -> None:
    for part in ("train", "test"):
        (root / part / "dog").rename(root.parent / part)
    refused(root, "has only one class, 'cat'; a classifier needs at least two")


def test_classes_that_differ(root: Path) -> None:
    (root / "test/dog").rename(root / "test/dogs")
    put(root, "test/emu/0.png")
    refused(root, "must have the same classes; only in train: dog, only in test: dogs, emu")


def test_names_written_in_other_characters_agree(root: Path) -> None:
    (root / "train/dog").rename(root / "train/caf\u00e9")
    (root / "test/dog").rename(root / "test/cafe\u0301")
    assert load(root).class_names == ("caf\u00e9", "cat")
    (root / "train/cat").rename(root / "train/cafe\u0301")
    refused(root, "train has two class folders whose names both read 'caf\u00e9'")


def test_a_name_that_cannot_be_printed(root: Path) -> None:
    for part in ("train", "test"):
        os.mkdir(os.fsencode(root / part) + b"/\xff")
    refused(root, "characters in its name that cannot be printed; rename it")


def test_a_folder_that_cannot_be_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(listing.os, "scandir", deny)
    refused(root, "cannot be listed: Permission denied; make it readable")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def bomb(path: Path) -> None:
    """A PNG whose header says 20,000x20,000 pixels."""
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 20_000, 20_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def unreadable_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "gone")


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (cut, "truncated|Truncated"),
    "empty": (lambda path: path.write_bytes(b""), r"it is empty \(0 bytes\)"),
    "text": (lambda path: path.write_text("not an image"), r"it is no image in a format that is read here \(JPEG, PNG"),
    "PostScript": (lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n"), "it is no image"),
    "bomb": (bomb, "it has more than the 89,478,485 pixels that are safe to decode"),
    "dangling link": (unreadable_link, "No such file or directory"),
    "float": (lambda path: Image.fromarray(np.ones((4, 6), np.float32)).save(path, "TIFF"), "no known range"),
    "32 bits": (lambda path: Image.fromarray(np.ones((4, 6), np.int32)).save(path, "TIFF"), "no known range"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("size", [None, 4])
def test_an_image_that_cannot_be_read_is_named(root: Path, what: str, size: int | None) -> None:
    spoil, reason = BAD[what]
    spoil(root / "train/dog/1.png")
    spoil(root / "train/dog/2.png")
    message = refused(root, reason, size=size)
    # The first in order is named, whichever thread was faster.
    assert f"{root}/train/dog/1.png cannot be read as an image: " in message
    assert message.endswith("or use --data.bad-images=skip, which leaves such images out.")


@pytest.mark.parametrize("what", BAD)
def test_an_image_that_cannot_be_read_can_be_skipped(root: Path, what: str) -> None:
    whole = load(root)
    BAD[what][0](root / "train/dog/1.png")
    told: list[str] = []
    data = load(root, told, bad="skip")
    kept = [0, 1, 2, 3, 5]
    np.testing.assert_array_equal(data.train.images, whole.train.images[kept])
    np.testing.assert_array_equal(data.train.labels, whole.train.labels[kept])
    np.testing.assert_array_equal(data.test.images, whole.test.images)
    assert any(re.search(r"left out: 1 \(train/dog/1\.png \(.*\)\)\.$", line) for line in told)


def test_of_many_skipped_images_the_first_are_named(root: Path) -> None:
    for i in range(3, 9):
        put(root, f"train/cat/{i}.png")
        cut(root / f"train/cat/{i}.png") if i % 2 else (root / f"train/cat/{i}.png").write_bytes(b"")
    told: list[str] = []
    data = load(root, told, bad="skip")
    assert len(data.train) == 6
    assert re.search(r"left out: 6 \(train/cat/\d\.png \(.*\), train/.* and 3 more\)\.$", told[-2])


@pytest.mark.parametrize("spoil", [cut, lambda path: path.write_bytes(b"")])
def test_a_class_without_a_readable_image(root: Path, cache_home: Path, spoil: Callable[[Path], Any]) -> None:
    spoil(root / "test/dog/0.png")
    refused(root, "no image of the class folder .*test/dog can be read, such as 0.png", bad="skip")
    assert not cache_home.exists()


def test_sizes_that_differ_without_a_resize(root: Path) -> None:
    put(root, "train/dog/1.png", noise(5, 8, 3))
    message = refused(root, "images differ in size: ")
    assert f"{root}/train/cat/0.png is 6x4 pixels and {root}/train/dog/1.png is 8x5; " in message
    assert message.endswith("such as --data.image-size=4.")
    assert load(root, size=4).image_shape == (4, 4, 3)


def test_an_image_too_narrow_to_resize(root: Path) -> None:
    put(root, "train/dog/1.png", noise(1, 3000, 3))
    refused(root, r"so narrow \(3000x1\) that resized it would be 900000x300", size=300)


def test_images_that_do_not_fit_in_memory(
    root: Path, cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9999 kB\nMemAvailable:       2 kB\n")
    load(root, size=16)
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    load(root, size=8)  # 8 * 8 * 8 * 3 = 1,536 bytes of 2,048
    refused(root, r"8 images of 17x17x3 need 6,936 bytes of memory and 2,048 bytes are available; .*now 17", size=17)
    refused(root, "the decoded images need .* of memory and 2,048 bytes are available", size=16)  # from the cache
    monkeypatch.setattr(memory, "CGROUP_LIMIT", tmp_path / "limit")
    (tmp_path / "limit").write_text("1000\n")
    refused(root, "1,000 bytes are available", size=9)
    (tmp_path / "limit").write_text("max\n")
    load(root, size=9)


def test_available_memory_is_told_or_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = memory.available()
    assert here is not None
    assert here > 1e6
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    everything = memory.available()
    assert everything is not None
    assert everything >= here
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(memory, "CGROUP_LIMIT", tmp_path / "none")
    assert memory.available() is None
    memory.require(10**18, "much", "never mind")


def test_an_error_stops_the_work(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(10 * threads.CHUNK):
        (root / f"train/cat/x{i:05}.png").write_bytes(b"")
    seen: list[str] = []
    real, cancelled = decode.header, threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            cancelled.set()
            super().shutdown(wait=wait)

    def counted(path: str, *, upright: bool) -> decode.Header:
        seen.append(path)
        if len(seen) > 2 * threads.CHUNK:
            cancelled.wait()  # however fast this thread is, beside the one that hears of the error
        return real(path, upright=upright)

    monkeypatch.setattr(decode, "header", counted)
    monkeypatch.setattr(threads, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(threads, "cores", lambda: 1)
    refused(root, "x00000.png cannot be read")
    assert len(seen) < 9 * threads.CHUNK
