"""TFDS by name: real prepared data, written here without TensorFlow, and every way in which they can be wrong.

No test may reach for a network: that is how "fails within seconds" is asserted, rather than by a clock.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rich
import tensorflow_datasets
from PIL import Image
from tensorflow_datasets.core import file_adapters

from resnet_jax.data import memory, tfds_files
from resnet_jax.data.sources import tfds
from resnet_jax.errors import UserError

ROOT = Path(__file__).parents[3]
VERSION = "3.0.2"
Examples = Sequence[tuple[bytes, int]]
FeaturesOf = Mapping[str, Any]


def silent(text: str) -> None:
    pass


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """[H, W, C] or [H, W] as the bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1:] == (1,) else pixels).save(buffer, kind)
    return buffer.getvalue()


def labelled(shape: tuple[int | None, int | None, int] = (8, 8, 3), classes: int = 3) -> dict[str, Any]:
    kinds = tensorflow_datasets.features
    names = [f"class {i}" for i in range(classes)]
    return {"image": kinds.Image(shape=shape), "label": kinds.ClassLabel(names=names)}


def random_images(count: int, shape: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def examples(images: np.ndarray, kind: str = "PNG") -> list[tuple[bytes, int]]:
    """Images with the labels 0, 1, 2, 0, 1, ..."""
    return [(encode(image, kind), i % 3) for i, image in enumerate(images)]


def write_tfrecord(path: Path, records: Sequence[bytes]) -> None:
    """https://www.tensorflow.org/tutorials/load_data/tfrecord: length, its checksum, data, its checksum."""
    path.write_bytes(b"".join(struct.pack("<Q", len(r)) + b"crc1" + r + b"crc2" for r in records))


def write_array_record(path: Path, records: Sequence[bytes]) -> None:
    file_adapters.ArrayRecordFileAdapter.write_examples(path, enumerate(records))


def write(
    data_dir: Path,
    splits: Mapping[str, Examples],
    *,
    name: str = "cifar10",
    version: str = VERSION,
    config: str = "",
    features: FeaturesOf | None = None,
    shards: int = 1,
    file_format: str = "array_record",
) -> Path:
    """A data set as TFDS's `download_and_prepare` leaves it; gives its directory."""
    directory = data_dir / name / config / version
    directory.mkdir(parents=True)
    feature_dict = tensorflow_datasets.features.FeaturesDict(features or labelled())
    feature_dict.save_config(directory)
    infos = []
    for split, content in splits.items():
        pieces = np.array_split(np.arange(len(content)), shards)
        infos.append(
            {
                "name": split,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": "1",
                "shardLengths": [str(len(piece)) for piece in pieces],
            }
        )
        for i, piece in enumerate(pieces):
            (image,) = feature_dict.keys() - {"label"}
            records = [
                feature_dict.serialize_example({image: content[j][0], "label": content[j][1]}) for j in piece.tolist()
            ]
            writer = write_tfrecord if file_format == "tfrecord" else write_array_record
            writer(directory / f"{name}-{split}.{file_format}-{i:05d}-of-{shards:05d}", records)
    info = {"name": name, "version": version, "fileFormat": file_format, "splits": infos}
    (directory / "dataset_info.json").write_text(json.dumps({**info, **({"configName": config} if config else {})}))
    return directory


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    calls: list[str] = []

    def refuse(*args: Any, **kwargs: Any) -> None:
        calls.append(repr(args))
        raise OSError("no network in this test")

    for owner, attribute in ((socket.socket, "connect"), (socket, "create_connection"), (socket, "getaddrinfo")):
        monkeypatch.setattr(owner, attribute, refuse)
    yield
    assert calls == []


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A prepared cifar10 of 7 + 4 images, 8x8x3."""
    return write(tmp_path, {"train": examples(random_images(7)), "test": examples(random_images(4, seed=1))})


def refused(data_dir: Path | str, sentence: str, name: str = "cifar10") -> None:
    with pytest.raises(UserError) as caught:
        tfds.read(name, data_dir=str(data_dir), tell=silent)
    message = str(caught.value)
    assert re.search(sentence, message), message
    assert "\n" not in message


# --- what is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 3])
def test_pixels_labels_and_order_are_those_written(tmp_path: Path, shards: int) -> None:
    train, test = random_images(10), random_images(4, seed=1)
    directory = write(tmp_path, {"train": examples(train), "test": examples(test)}, shards=shards)
    told: list[str] = []
    data = tfds.read("cifar10", data_dir=str(tmp_path), tell=told.append)
    np.testing.assert_array_equal(data.train.images, train)
    np.testing.assert_array_equal(data.test.images, test)
    assert data.train.labels.tolist() == [i % 3 for i in range(10)]
    assert (data.train.images.dtype, data.train.labels.dtype) == (np.uint8, np.int32)
    assert data.class_names == ("class 0", "class 1", "class 2")
    assert told == [
        "reading CIFAR-10: 14 images.",
        f"CIFAR-10 3.0.2: 10 training and 4 test images, 8x8x3, 3 classes, from {directory}.",
    ]


@pytest.mark.parametrize(("channels", "shape"), [(1, (8, 8)), (3, (8, 8, 3)), (4, (8, 8, 4))])
def test_images_have_the_declared_channels(tmp_path: Path, channels: int, shape: tuple[int, ...]) -> None:
    images = random_images(3, shape)
    write(tmp_path, {"train": examples(images), "test": examples(images)}, features=labelled((8, 8, channels)))
    data = tfds.read("cifar10", data_dir=str(tmp_path), tell=silent)
    assert data.image_shape == (8, 8, channels)
    np.testing.assert_array_equal(data.train.images, images.reshape(3, 8, 8, channels))


def test_jpegs_are_pillow_s_and_grey_becomes_colour(tmp_path: Path) -> None:
    grey, colour = encode(random_images(1, (8, 8))[0], "JPEG"), encode(random_images(1)[0], "JPEG")
    content = [(grey, 0), (colour, 1), (grey, 2)]
    write(tmp_path, {"train": content, "test": content}, features=labelled((None, None, 3)))
    data = tfds.read("cifar10", data_dir=str(tmp_path), tell=silent)
    expected = [np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")) for encoded, _ in content]
    np.testing.assert_array_equal(data.train.images, np.stack(expected))


def test_more_images_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfds, "CHUNK", 3)
    images = random_images(8)
    write(tmp_path, {"train": examples(images), "test": examples(images)}, shards=2)
    np.testing.assert_array_equal(tfds.read("cifar10", data_dir=str(tmp_path), tell=silent).train.images, images)


def test_validation_where_there_is_no_test(tmp_path: Path) -> None:
    train, validation = random_images(3), random_images(4, seed=1)
    write(tmp_path, {"train": examples(train), "validation": examples(validation)})
    told: list[str] = []
    data = tfds.read("cifar10", data_dir=str(tmp_path), tell=told.append)
    np.testing.assert_array_equal(data.test.images, validation)
    assert told[0] == "CIFAR-10: TFDS has no split test; the split validation is tested on instead."


def test_no_split_to_test_on(tmp_path: Path) -> None:
    write(tmp_path, {"train": examples(random_images(3)), "extra": examples(random_images(3))})
    refused(tmp_path, r"cifar10: it has the splits train, extra; needed are train, and test or validation")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("cifar10", 5),
        ("cifar10:3.0.2", 4),
        ("cifar10:3.0.*", 4),
        ("cifar10:*.*.*", 5),
        ("Cifar10", 5),
        ("imagenette/160px:1.0.0", 6),
        ("imagenette/160px", 6),
        ("imagenette", 7),  # TFDS's default configuration
        ("my_own", 8),  # no code in TFDS
    ],
)
def test_versions_and_configurations(tmp_path: Path, name: str, count: int) -> None:
    def content(n: int) -> dict[str, Examples]:
        return {"train": examples(random_images(n)), "test": examples(random_images(1))}

    write(tmp_path, content(4))
    write(tmp_path, content(5), version="3.10.0")  # above 3.9, as a number
    write(tmp_path, content(3), version="3.9.0")
    write(tmp_path, content(6), name="imagenette", config="160px", version="1.0.0")
    write(tmp_path, content(7), name="imagenette", config="full-size-v2", version="1.0.0")
    write(tmp_path, content(8), name="my_own", version="1.0.0")
    assert len(tfds.read(name, data_dir=str(tmp_path), tell=silent).train) == count


@pytest.mark.parametrize(
    ("name", "display"),
    [
        ("cifar100", "CIFAR-100"),
        ("fashion_mnist", "Fashion-MNIST"),
        ("mnist", "MNIST"),
        ("svhn_cropped", "SVHN (cropped)"),
        ("my_own", "my_own"),
    ],
)
def test_names_as_in_a_table(tmp_path: Path, name: str, display: str) -> None:
    write(tmp_path, {"train": examples(random_images(3)), "test": examples(random_images(3))}, name=name)
    assert tfds.read(name, data_dir=str(tmp_path), tell=silent).name == display


def test_the_usual_place(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(small.parents[1]))
    assert len(tfds.read("cifar10", data_dir=None, tell=silent).train) == 7


def test_classes_without_names_are_numbered_and_told(tmp_path: Path) -> None:
    directory = write(tmp_path, {"train": examples(random_images(3)), "test": examples(random_images(3))})
    (directory / "label.labels.txt").unlink()
    told: list[str] = []
    assert tfds.read("cifar10", data_dir=str(tmp_path), tell=told.append).class_names == ("0", "1", "2")
    assert told[0] == (
        f"CIFAR-10: no names of the classes are stored (there is no {directory}/label.labels.txt); their numbers serve."
    )


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("a\nb\na\n", "names both class 0 and class 2 'a'; each needs a name of its own"),
        ("caf\u00e9\nb\ncafe\u0301\n", "names both class 0 and class 2"),
        ("a\nb\nc\td\n", r"names class 2 'c\\td'; legal: .* no control characters"),
    ],
)
def test_names_of_classes_that_cannot_be_told_apart(small: Path, names: str, sentence: str) -> None:
    (small / "label.labels.txt").write_text(names)
    refused(small.parents[1], f"^{small}/label.labels.txt {sentence}")


def test_a_home_of_nobodys() -> None:
    refused("~nobodyhere/x", "cifar10: not prepared in .*/~nobodyhere/x; run ")


def test_a_command_with_blanks_in_its_path_can_be_pasted(tmp_path: Path) -> None:
    refused(tmp_path / "my data", f"prepare 'mnist:3.\\*.\\*' --data-dir '{tmp_path}/my data'$", "mnist:3.*.*")


def test_a_bar_on_a_terminal_and_no_line(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(rich, "get_console", lambda: rich.console.Console(file=screen, force_terminal=True, width=120))
    told: list[str] = []
    tfds.read("cifar10", data_dir=str(small.parents[1]), tell=told.append)
    assert "reading CIFAR-10" in screen.getvalue()
    assert "11/11" in screen.getvalue()
    assert len(told) == 1


def test_tensorflow_is_not_imported_even_where_it_is_installed(small: Path, tmp_path: Path) -> None:
    trap = tmp_path / "site" / "tensorflow"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise SystemExit('TensorFlow was imported')")
    program = f"""
from resnet_jax.data.sources import tfds
from resnet_jax.errors import UserError
print(len(tfds.read("cifar10", data_dir={str(small.parents[1])!r}, tell=print).train))
try:
    tfds.read("mnist", data_dir={str(tmp_path)!r}, tell=print)
except UserError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": f"{trap.parent}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "\n7\n" in done.stdout
    # TensorFlow is there, so that nothing has to be installed.
    assert done.stdout.endswith(f"run python -m experiments.prepare mnist --data-dir {tmp_path}\n")


# --- not there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10", "imagenette/160px", "cifar10:3.0.2"])
def test_not_prepared(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfds_files, "has_tensorflow", lambda: False)
    with pytest.raises(UserError) as caught:
        tfds.read(name, data_dir=None if name == "cifar10" else str(tmp_path), tell=silent)
    where = tfds_files.root(None) if name == "cifar10" else tmp_path
    option = "" if name == "cifar10" else f" --data-dir {tmp_path}"
    assert str(caught.value) == (
        f"{name}: not prepared in {where}; run pip install -e '.[prepare]' (preparing needs TensorFlow, reading does "
        f"not) and python -m experiments.prepare {name}{option}"
    )


def test_another_version_and_one_half_prepared_do_not_count(small: Path) -> None:
    data_dir = small.parents[1]
    refused(data_dir, "cifar10:1.0.0: not prepared", "cifar10:1.0.0")
    small.rename(small.with_name(f"incomplete.ABC123_{VERSION}"))
    refused(data_dir, "cifar10: not prepared")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cfar10", "TFDS .* has no 'cfar10'; the nearest names are cifar10, "),
        ("fashionmnist", "the nearest names are fashion_mnist"),
        ("CIFAR10", "the nearest names are cifar10, "),
        ("zzzzqqqq", "none of its names is near"),
        ("imagenette/161px", "has no configuration '161px'; legal: full-size-v2, "),
        ("cifar10/small", "has no configuration 'small'; legal: none"),
        ("cifar 10", "got 'cifar 10'; legal: name, name/config"),
        ("", "got ''; legal: name, name/config"),
        ("cifar10/", "got 'cifar10/'; legal: name, name/config"),
        ("cifar10:3", "got 'cifar10:3'; legal: name, name/config"),
        ("../cifar10", r"got '\.\./cifar10'; legal: name, name/config"),
        ("huggingface:mnist", "namespaces and builder arguments are not supported"),
        ("cifar10/size=3", "namespaces and builder arguments are not supported"),
    ],
)
def test_no_such_name(tmp_path: Path, name: str, sentence: str) -> None:
    refused(tmp_path, sentence, name)


def test_prepared_as_tfrecord(tmp_path: Path) -> None:
    content = {"train": examples(random_images(3)), "test": examples(random_images(3))}
    directory = write(tmp_path, content, file_format="tfrecord")
    command = f"python -m experiments.prepare cifar10 --data-dir {tmp_path}"
    refused(
        tmp_path,
        f"{directory}: prepared as tfrecord, which cannot be read without TensorFlow; {command} makes array_record",
    )


def test_prepared_as_something_else(small: Path) -> None:
    edit(small / "dataset_info.json", lambda info: info.update(fileFormat="riegeli"))
    refused(small.parents[1], f"prepared as riegeli, .*; delete {small} and run python -m experiments.prepare cifar10")


# --- damaged ------------------------------------------------------------------------------------------------------


def edit(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 4
    file.write_bytes(content)


SHARD = "cifar10-test.array_record-00000-of-00001"
DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no dataset_info.json": (lambda d: (d / "dataset_info.json").unlink(), "dataset_info.json: missing"),
    "broken dataset_info.json": (lambda d: cut(d / "dataset_info.json", 40), "dataset_info.json: broken, .* not JSON"),
    "binary dataset_info.json": (lambda d: (d / "dataset_info.json").write_bytes(b"\xff\xfe\x00"), "info.json: broken"),
    "other dataset_info.json": (lambda d: (d / "dataset_info.json").write_text("[]"), "TFDS cannot read its dataset_"),
    "no splits": (lambda d: edit(d / "dataset_info.json", lambda i: i.pop("splits")), "it has no splits"),
    "unknown format": (
        lambda d: edit(d / "dataset_info.json", lambda i: i.update(fileFormat="x")),
        "TFDS cannot read its dataset_info.json and features.json",
    ),
    "broken template": (
        lambda d: edit(d / "dataset_info.json", lambda i: i["splits"][0].update(filepathTemplate="{DATASET")),
        "TFDS cannot read its dataset_info.json",
    ),
    "unknown field in a template": (
        lambda d: edit(d / "dataset_info.json", lambda i: i["splits"][1].update(filepathTemplate="{X}-{Y}")),
        "TFDS cannot read its dataset_info.json",
    ),
    "empty names": (lambda d: (d / "label.labels.txt").write_text("\n"), "label.labels.txt: empty"),
    "binary names": (lambda d: (d / "label.labels.txt").write_bytes(b"\xff"), "label.labels.txt: broken"),
    "too many names": (
        lambda d: (d / "label.labels.txt").write_text("a\nb\nc\nd"),
        "has 4 names, features.json says 3",
    ),
    "too few names": (
        lambda d: (d / "label.labels.txt").write_text("a\n"),
        "labels.txt: has 1 names, features.json says 3",
    ),
    "no features.json": (lambda d: (d / "features.json").unlink(), "features.json: missing"),
    "broken features.json": (lambda d: cut(d / "features.json", 40), "features.json: broken"),
    "empty features.json": (lambda d: (d / "features.json").write_text("{}"), "TFDS cannot read its dataset_info.json"),
    "no shard": (lambda d: (d / SHARD).unlink(), f"{SHARD}: missing"),
    "empty shard": (lambda d: cut(d / SHARD, 0), f"{SHARD}: truncated or damaged"),
    "truncated shard": (lambda d: cut(d / SHARD, (d / SHARD).stat().st_size // 2), f"{SHARD}: truncated or damaged"),
    "byte missing": (lambda d: cut(d / SHARD, (d / SHARD).stat().st_size - 1), f"{SHARD}: truncated or damaged"),
    "flipped bit": (
        lambda d: flip(d / SHARD, (d / SHARD).read_bytes().index(b"PNG") + 50),
        f"{SHARD}: damaged, its examples cannot be read",
    ),
    "other examples": (lambda d: write_array_record(d / SHARD, [b"\x0a\xff"] * 4), f"{SHARD}: damaged, its examples"),
    "other count": (lambda d: write_array_record(d / SHARD, [b""] * 5), f"{SHARD}: has 5 examples, .*json says 4"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_directory_is_named_with_what_to_do(small: Path, kind: str) -> None:
    damage, sentence = DAMAGE[kind]
    damage(small)
    command = f"python -m experiments.prepare cifar10 --data-dir {small.parents[1]}"
    refused(small.parents[1], f"^{small}.*{sentence}.*; delete {small} and run {command}\\.$")


def test_the_damaged_shard_is_named(tmp_path: Path) -> None:
    content = {"train": examples(random_images(9)), "test": examples(random_images(3))}
    directory = write(tmp_path, content, shards=3)
    (directory / "cifar10-train.array_record-00001-of-00003").unlink()
    refused(tmp_path, "cifar10-train.array_record-00001-of-00003: missing")


def test_an_image_that_is_none(tmp_path: Path) -> None:
    content = examples(random_images(9))
    content[4] = (content[4][0][:60], 1)
    directory = write(tmp_path, {"train": content, "test": content[:3]}, shards=3)
    shard = directory / "cifar10-train.array_record-00001-of-00003"
    refused(tmp_path, f"{shard}: image 4 of train cannot be decoded")


# --- of another kind ----------------------------------------------------------------------------------------------


def test_images_of_different_sizes(tmp_path: Path) -> None:
    content = [*examples(random_images(2)), (encode(random_images(1, (8, 9, 3))[0]), 0)]
    write(tmp_path, {"train": content, "test": content}, features=labelled((None, None, 3)))
    refused(
        tmp_path, "images differ in size, image 0 of train is 8x8 pixels and image 2 is 9x8; supported: .* of one size"
    )


def test_training_and_test_images_of_different_sizes(tmp_path: Path) -> None:
    content = {"train": examples(random_images(3)), "test": examples(random_images(3, (9, 9, 3)))}
    write(tmp_path, content, features=labelled((None, None, 3)))
    refused(tmp_path, r"training images are \(8, 8, 3\), test images \(9, 9, 3\)")


def test_no_images_with_classes(tmp_path: Path) -> None:
    kinds = tensorflow_datasets.features
    content: dict[str, Any] = {"train": [("good", 1)], "test": [("bad", 0)]}
    features = {"text": kinds.Text(), "label": kinds.ClassLabel(names=["neg", "pos"])}
    write(tmp_path, content, name="imdb_reviews", config="plain_text", features=features)
    refused(tmp_path, "imdb_reviews: its features are label, text; supported: uint8 images", "imdb_reviews")
    features = {"image": kinds.Image(shape=(8, 8, 3)), "label": kinds.Scalar(np.int64)}
    images = {"train": examples(random_images(2)), "test": examples(random_images(2))}
    write(tmp_path, images, name="my_own", features=features)
    refused(tmp_path, "my_own: its features are image, label; supported: .* a class under 'label'", "my_own")


def test_images_of_16_bits(tmp_path: Path) -> None:
    kinds = tensorflow_datasets.features
    features = {**labelled(), "image": kinds.Image(shape=(8, 8, 1), dtype=np.uint16, encoding_format="png")}
    write(tmp_path, {"train": examples(random_images(1)), "test": examples(random_images(1))}, features=features)
    refused(tmp_path, "its images are uint16 with 1 channels; supported: uint8")


def test_an_empty_split(tmp_path: Path) -> None:
    write(tmp_path, {"train": examples(random_images(3)), "test": []})
    refused(tmp_path, "the split test is empty")


def test_labels_that_are_no_classes(tmp_path: Path) -> None:
    content = examples(random_images(3))
    write(tmp_path, {"train": content, "test": [(content[0][0], -1)]})  # how TFDS marks a test set without labels
    refused(tmp_path, "CIFAR-10: the test set has labels from -1 to -1; legal: 0 to 2")


def test_more_images_than_memory(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1000)
    refused(
        small.parents[1], "7 images of 8x8x3 need 1,344 bytes of memory and 1,000 bytes are available; --data.stream"
    )
