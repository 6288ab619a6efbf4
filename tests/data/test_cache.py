"""The cache of a folder: the second start is the first's equal, and no damage or change goes unseen."""

import errno
import fcntl
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from resnet_jax.data import cache
from resnet_jax.data.dataset import Dataset
from tests.data.folders import load, noise, pillow, put

pytestmark = pytest.mark.usefixtures("cache_home")


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
    assert any(line.startswith("kept for the next run in ") for line in told)
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
    assert "left out: 1 (train/cat/1.png (" in told[0]


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
    assert re.search(r"is removed, because the images, or the way to read them, have changed", told[0])
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


@pytest.mark.parametrize("cut", [1, 33, 200, 400])
def test_a_truncated_cache_is_dropped(root: Path, cache_home: Path, cut: int) -> None:
    data = load(root)
    path = the_cache(cache_home)
    path.write_bytes(path.read_bytes()[:-cut])
    told: list[str] = []
    assert same(load(root, told), data)
    assert "is removed, because it is not an .npz file, or it is truncated" in told[0]


def test_what_is_no_cache_is_dropped(root: Path, cache_home: Path) -> None:
    data = load(root)
    content = the_cache(cache_home).read_bytes()
    other = io.BytesIO()
    np.savez(other, train_images=np.zeros(3))
    for damaged in (content[: len(content) // 2], b"", b"\xff\n" * 10, other.getvalue()):
        the_cache(cache_home).write_bytes(damaged)
        told: list[str] = []
        assert same(load(root, told), data)
        assert "is removed" in told[0]


def test_a_flipped_bit_anywhere_in_the_cache_is_seen_or_harmless(tmp_path: Path) -> None:
    """Harmless are those in what the zip format says of times and of the system that wrote a file."""
    path, pixels, harmless = tmp_path / "a.npz", noise(9, 6, 3), 0
    assert cache.write(path, "the key", {"pixels": pixels, "labels": np.arange(9)}, print)
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        told: list[str] = []
        found = cache.read(path, "the key", told.append)
        assert len(told) == (found is None)
        assert path.exists() == (found is not None)
        if found is not None:
            harmless += 1
            np.testing.assert_array_equal(found["pixels"], pixels)
            np.testing.assert_array_equal(found["labels"], np.arange(9))
    assert harmless < len(content) / 4


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
    (line,) = [line for line in told if "cannot be written" in line]
    assert line.endswith("cannot be written: No space left on device; the next run reads all again.")
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


def test_of_two_that_keep_the_same_one_does(root: Path, cache_home: Path) -> None:
    load(root)
    place = the_cache(cache_home)
    place.unlink()
    told: list[str] = []
    with open(f"{place}.part", "wb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        part.write(b"of another process")
        load(root, told)
    assert not any("kept" in line or "cannot be written" in line for line in told)
    assert Path(f"{place}.part").read_bytes() == b"of another process"
    load(root)
    assert the_cache(cache_home) == place


def test_a_kill_while_writing_leaves_a_part_that_the_next_start_sweeps(root: Path, cache_home: Path) -> None:
    program = f"""
import os, signal
from resnet_jax.config import DataConfig
from resnet_jax.data import cache
from resnet_jax.data.sources import folder
cache.os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
folder.load(DataConfig(source="folder", path={str(root)!r}), print)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -signal.SIGKILL
    assert the_cache(cache_home).suffix == ".part"
    load(root)
    assert the_cache(cache_home).suffix == ".npz"


def test_a_cache_folder_that_cannot_be_made(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    told: list[str] = []
    load(root, told)
    assert any("cannot be written: Not a directory" in line for line in told)


def test_without_a_cache_home_the_homes_own_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache.file("my pets", "32-images", "0123" * 16) == (
            tmp_path / "home/.cache/resnet_jax/my_pets-32-images-0123012301230123.npz"
        )


def test_no_home_at_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(cache.Path, "home", homeless)
    told: list[str] = []
    load(root, told)
    assert any("cannot be written: there is no home folder" in line for line in told)
