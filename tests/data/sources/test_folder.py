"""Image folders: their layout, and bad input ends in a sentence."""

import errno
import os
import re
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data import decode, listing, memory, threads
from tests.data.folders import first, load, noise, pillow, put, refused

pytestmark = pytest.mark.usefixtures("cache_home")


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
        assert load(path).name == "pets (folder)"


def test_val_serves_where_there_is_no_test(root: Path) -> None:
    expected = load(root).test.images
    (root / "test").rename(root / "val")
    np.testing.assert_array_equal(load(root).test.images, expected)


def test_of_test_and_val_test_is_used_and_told(root: Path) -> None:
    for name in ("cat", "dog"):
        put(root, f"val/{name}/0.png")
    told: list[str] = []
    data = load(root, told)
    assert told[0].endswith("has both test and val: test is used as the test set.")
    np.testing.assert_array_equal(data.test.images[0], pillow(root / "test/cat/0.png", "RGB"))


def test_a_test_folder_without_labels_leaves_val(root: Path) -> None:
    # As ImageNet has it.
    (root / "test").rename(root / "val")
    put(root, "test/0.png")
    told: list[str] = []
    load(root, told)
    assert told[0].endswith("val is used as the test set.")


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
    refused(root, "train has two class folders with the name 'caf\u00e9'")


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
    "text": (lambda path: path.write_text("not an image"), r"it is not an image in one of the formats JPEG, PNG"),
    "PostScript": (
        lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n"),
        "it is not an image",
    ),
    "bomb": (bomb, "it has more than the 89,478,485 pixels that are safe to decode"),
    "dangling link": (unreadable_link, "No such file or directory"),
    "float": (lambda path: Image.fromarray(np.ones((4, 6), np.float32)).save(path, "TIFF"), "unknown range"),
    "32 bits": (lambda path: Image.fromarray(np.ones((4, 6), np.int32)).save(path, "TIFF"), "unknown range"),
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
    refused(root, "no image of the class folder .*test/dog can be read, for example 0.png", bad="skip")
    assert not cache_home.exists()


def test_sizes_that_differ_without_a_resize(root: Path) -> None:
    put(root, "train/dog/1.png", noise(5, 8, 3))
    message = refused(root, "images differ in size: ")
    assert f"{root}/train/cat/0.png is 6x4 pixels and {root}/train/dog/1.png is 8x5; " in message
    assert message.endswith("for example with --data.image-size=4.")
    assert load(root, size=4).image_shape == (4, 4, 3)


def test_of_a_very_narrow_image_only_the_middle_is_resized(root: Path) -> None:
    """Resized whole it would have 300 million pixels; its middle is the pixel 5000 and parts of its neighbours."""
    line = noise(1, 10_001, 3)
    line[0, 4998:5003] = [10, 200, 30]
    put(root, "train/cat/0.png", line)
    image = first(load(root, size=300))
    assert (image == [10, 200, 30]).all()


def test_images_that_do_not_fit_in_memory(
    root: Path, cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9999 kB\nMemAvailable:       2 kB\n")
    load(root, size=16)
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    load(root, size=8)  # 8 * 8 * 8 * 3 = 1,536 bytes of 2,048
    refused(root, r"8 images of 17x17x3 need 6,936 bytes of memory and 2,048 bytes are available; .*now 17", size=17)
    refused(root, r"the arrays in .*pets-16-images.* need .* of memory and 2,048 bytes are available", size=16)
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

    def counted(path: str) -> decode.Header:
        seen.append(path)
        if len(seen) > 2 * threads.CHUNK:
            cancelled.wait()  # however fast this thread is, beside the one that hears of the error
        return real(path)

    monkeypatch.setattr(decode, "header", counted)
    monkeypatch.setattr(threads, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(threads, "cores", lambda: 1)
    refused(root, "x00000.png cannot be read")
    assert len(seen) < 9 * threads.CHUNK
