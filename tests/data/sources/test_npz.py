"""NumPy files: what is read is what was saved, and what cannot be used is refused in a sentence."""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnet_jax.config import DataConfig
from resnet_jax.data import load, memory
from resnet_jax.errors import UserError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
LABELS = np.array([0, 1, 2] * 4)


def arrays(**changes: Any) -> dict[str, Any]:
    whole = {
        "train_images": COLOUR,
        "train_labels": LABELS,
        "test_images": COLOUR[:3],
        "test_labels": LABELS[:3],
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    def write(**changes: Any) -> str:
        path = tmp_path / "toys.npz"
        np.savez(path, **arrays(**changes))
        return str(path)

    return write


def read(path: str | Path) -> Any:
    return load(DataConfig(source="npz", path=str(path)))


def refused(path: str | Path, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        read(path)
    message = str(caught.value).replace(str(path), "PATH")
    assert message.startswith("data.path: ")
    assert re.findall(r"\.(?:\s|$)", message) == ["."]  # one sentence


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64, np.uint64, ">i2"])
def test_images_and_labels_are_those_saved(save: Callable[..., str], dtype: Any) -> None:
    data = read(save(train_labels=LABELS.astype(dtype)))
    assert data.name == "toys (npz)"
    np.testing.assert_array_equal(data.train.images, COLOUR)
    np.testing.assert_array_equal(data.test.images, COLOUR[:3])
    np.testing.assert_array_equal(data.train.labels, LABELS)
    assert data.train.labels.dtype == np.int32
    assert data.class_names == ("0", "1", "2")


def test_grey_images_get_a_channel_and_compressed_files_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "grey.npz", **arrays(train_images=GREY, test_images=GREY[:3, ..., None]))
    data = read(tmp_path / "grey.npz")
    assert data.image_shape == (5, 4, 1)
    np.testing.assert_array_equal(data.train.images[..., 0], GREY)


def test_kerass_keys_and_shapes(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "cifar.npz", x_train=COLOUR, y_train=LABELS[:, None], x_test=COLOUR[:3], y_test=LABELS[:3, None]
    )
    data = read(tmp_path / "cifar.npz")
    np.testing.assert_array_equal(data.train.images, COLOUR)
    np.testing.assert_array_equal(data.train.labels, LABELS)


@pytest.mark.parametrize("names", [["cat", "dog", "frog", "hörse"], [b"cat", b"dog", b"frog", "hörse".encode()]])
def test_class_names(save: Callable[..., str], names: list[Any]) -> None:
    # One class more than there are labels: a class may be missing from a small set.
    assert read(save(class_names=np.array(names))).class_names == ("cat", "dog", "frog", "hörse")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train_images": None}, "has test_images, test_labels, train_labels; needed: train_images, .* x_train"),
        ({"test_labels": None}, "has test_images, train_images, train_labels; needed"),
        ({"train_images": np.array([object()] * 12)}, "train_images in .* holds pickled Python objects"),
        ({"class_names": np.array(["a", "b", "c"], dtype=object)}, r"class_names in .* pickled .*dtype=str"),
        ({"train_images": COLOUR / 255.0}, r"dtype float64; legal: uint8; convert with np\.rint\(images \* 255\)"),
        ({"test_images": COLOUR[:3].astype(np.int64)}, r"test_images .* dtype int64; .* images\.astype"),
        ({"train_images": COLOUR.reshape(12, -1)}, r"train_images .* shape \(12, 60\); legal: \[N, H, W\]"),
        ({"train_images": COLOUR[:, :0]}, "with lengths above 0"),
        ({"train_images": COLOUR[:0], "train_labels": LABELS[:0]}, "with lengths above 0"),
        (
            {"train_images": np.zeros((12, 3, 8, 8), np.uint8)},
            r"so 8 channels; legal: \[N, H, W, C\], channels last, with C = 1, 3 or 4; .*transpose\(0, 2, 3, 1\)",
        ),
        ({"train_images": np.zeros((12, 3, 9, 8), np.uint8)}, "so 8 channels; legal"),
        ({"test_images": np.zeros((3, 1, 28, 32), np.uint8)}, "test_images .* so 32 channels; legal"),
        ({"train_images": COLOUR[..., :2]}, "so 2 channels; legal"),
        ({"train_labels": LABELS[:-1]}, "12 train_images and 11 train_labels; each image needs one label"),
        ({"train_labels": LABELS.astype(float)}, "train_labels .* dtype float64; legal: whole numbers"),
        ({"train_labels": np.eye(3, dtype=int)[LABELS]}, r"shape \(12, 3\); legal: \[N\]; .*argmax\(axis=1\)"),
        ({"test_labels": LABELS[:3] - 1}, "test_labels .* the label -1; legal: whole numbers from 0"),
        ({"train_labels": LABELS * 2**40}, "number the classes from 0"),
        ({"train_labels": LABELS * 1000}, "labels up to 2,000 for 15 images"),
        ({"class_names": np.array(["a", "b"])}, "labels up to 2, but only 2 class_names; legal: labels from 0 to 1"),
        ({"class_names": np.array([1, 2, 3])}, "class_names .* legal: strings"),
        (
            {"class_names": np.array(["a", "b", "a"])},
            "class_names in .* gives class 0 and class 2 the same name, 'a'; the names",
        ),
        ({"class_names": np.array(["caf\u00e9", "b", "cafe\u0301"])}, "gives class 0 and class 2 the same name"),
        ({"class_names": np.array(["a", "", "c"])}, "gives class 1 the name ''; legal: a name that is not empty"),
        (
            {"class_names": np.array(["a", "b", "c\n"])},
            r"gives class 2 the name 'c\\n'; legal: .* no control characters",
        ),
        ({"test_labels": LABELS[:3] * 0}, "training and test of .* must have the same classes; only in training: 1, 2"),
        (
            {"test_labels": LABELS[:3] + 1, "class_names": np.array(["a", "b", "c", "d"])},
            "must have the same classes; only in training: a, only in test: d",
        ),
        ({"train_labels": LABELS * 0, "test_labels": LABELS[:3] * 0}, "only one class"),
    ],
)
def test_arrays_that_cannot_be_used(save: Callable[..., str], changes: dict[str, Any], sentence: str) -> None:
    refused(save(**changes), sentence)


def test_sizes_that_differ_between_training_and_test(save: Callable[..., str]) -> None:
    with pytest.raises(UserError, match="must have the same shape"):
        read(save(test_images=GREY[:3]))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none.npz", "there is no such file")
    refused(tmp_path, "it is a folder")


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for content in (b"", b"some text", b"\x80\x04N."):
        path.write_bytes(content)
        refused(path, r"not an \.npz file, or it is truncated")
    np.save(tmp_path / "x.npy", COLOUR)
    refused(tmp_path / "x.npy", r"not an \.npz file")


def test_a_truncated_file(save: Callable[..., str]) -> None:
    path = Path(save())
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "truncated")


def test_a_flipped_byte(save: Callable[..., str]) -> None:
    path = Path(save())
    content = bytearray(path.read_bytes())
    content[content.find(COLOUR.tobytes()) + 10] ^= 1
    path.write_bytes(content)
    refused(path, "train_images in .* cannot be read .*CRC.*; write it with np.savez")


def members(path: Path, **changes: bytes) -> Path:
    """The file written again, with other contents of some members."""
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, data in {**content, **{f"{key}.npy": data for key, data in changes.items()}}.items():
            file.writestr(name, data)
    return path


def npy(shape: tuple[int, ...], data: bytes = b"", descr: str = "|u1") -> bytes:
    """An array's header and whatever follows it."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


HEADER = npy((12, 5, 4, 3))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"some text", "train_images in .* cannot be read .it is not in NumPy's .npy form.; write it with np.savez"),
        (b"", "it is not in NumPy's .npy form"),
        (b"\x93NUMPY\x03\x00" + HEADER[8:], "its .npy form has the version 3.0"),
        (npy((10**15, 5, 4, 3)), r"its header says shape \(1000000000000000, 5, 4, 3\)"),
        (npy((12, 5, 4, 3), bytes(719)), "its header says shape"),
        (npy((-12, -5, 4, 3), bytes(720)), "its header says shape"),
        (HEADER.replace(b"(12", b"((("), "cannot be read"),
        (HEADER.replace(b"}", b"'"), "cannot be read"),
        (HEADER.replace(b"{", b"\x00"), "cannot be read"),
        (HEADER.replace(b"12, 5, 4, 3", b"'a', 'b'   "), "cannot be read"),
        (npy((12,), b"x" * 96, "|O"), "holds pickled Python objects"),
    ],
)
def test_members_that_are_no_arrays(save: Callable[..., str], content: bytes, sentence: str) -> None:
    refused(members(Path(save()), train_images=content), sentence)


def test_more_than_memory_is_not_asked_for(save: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = save()
    size = 15 * (5 * 4 * 3 + 8)
    monkeypatch.setattr(memory, "available", lambda: size)
    read(path)
    monkeypatch.setattr(memory, "available", lambda: size - 1)
    refused(path, "the arrays in .* need 1,020 bytes of memory and 1,019 bytes are available; use fewer images")
    monkeypatch.setattr(memory, "available", lambda: None)

    def starve(*args: Any, **options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", starve)
    refused(path, "train_images in .* cannot be read .MemoryError")


def test_an_encrypted_file(save: Callable[..., str]) -> None:
    path = Path(save())
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")  # of the directory at the end; the flags come 8 bytes later, encryption is bit 0
    content[at + 8] |= 1
    content[6] |= 1
    path.write_bytes(content)
    refused(path, "cannot be read .File .train_images.npy. is encrypted")


def test_a_home_of_nobodys() -> None:
    refused("~nobodyhere/x.npz", "there is no such file")


@pytest.mark.parametrize("compressed", [False, True])
def test_whichever_byte_is_changed_it_is_read_or_refused(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "toys.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays(class_names=np.array(["a", "b", "c"])))
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    messages = []
    for at in rng.choice(len(content), 400, replace=False).tolist():
        damaged = bytearray(content)
        damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            data = read(path)
        except UserError as error:
            messages.append(str(error))
        else:  # a byte that nothing depends on; or one that hides the last member, class_names, which need not be there
            np.testing.assert_array_equal(data.train.images, COLOUR)
            np.testing.assert_array_equal(data.train.labels, LABELS)
    assert len(messages) > 200
    assert not any("\n" in message for message in messages)
