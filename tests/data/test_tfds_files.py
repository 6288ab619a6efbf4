"""Prepared data sets that are missing or damaged: a sentence names what to do. No test may reach for a network."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnet_jax.data import tfds_files
from resnet_jax.errors import UserError
from tests.data.prepared import (
    VERSION,
    examples,
    random_images,
    read,
    refused,
    write,
    write_array_record,
)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("no_network")


@pytest.mark.parametrize("name", ["cifar10", "imagenette/160px", "cifar10:3.0.2"])
def test_not_prepared(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfds_files, "has_tensorflow", lambda: False)
    with pytest.raises(UserError) as caught:
        read(name, data_dir=None if name == "cifar10" else tmp_path)
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
        ("zzzzqqqq", "it has no similar name"),
        ("imagenette/161px", "has no configuration '161px'; legal: full-size-v2, "),
        ("cifar10/small", "has no configuration 'small'; legal: none"),
        ("cifar 10", "got 'cifar 10'; legal: name, name/config"),
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
        f"{directory}: prepared as tfrecord, which cannot be read without TensorFlow; {command} converts it",
    )


def test_prepared_as_something_else(small: Path) -> None:
    edit(small / "dataset_info.json", lambda info: info.update(fileFormat="riegeli"))
    refused(small.parents[1], f"prepared as riegeli, .*; delete {small} and run python -m experiments.prepare cifar10")


# --- damaged ---


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
    "broken dataset_info.json": (lambda d: cut(d / "dataset_info.json", 40), "dataset_info.json: not valid JSON"),
    "binary dataset_info.json": (
        lambda d: (d / "dataset_info.json").write_bytes(b"\xff\xfe\x00"),
        "json: not valid JSON",
    ),
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
    "binary names": (
        lambda d: (d / "label.labels.txt").write_bytes(b"\xff"),
        "labels.txt: not a text file in UTF-8",
    ),
    "too many names": (
        lambda d: (d / "label.labels.txt").write_text("a\nb\nc\nd"),
        "has 4 names, but features.json has 3",
    ),
    "too few names": (
        lambda d: (d / "label.labels.txt").write_text("a\n"),
        "labels.txt: has 1 names, but features.json has 3",
    ),
    "no features.json": (lambda d: (d / "features.json").unlink(), "features.json: missing"),
    "broken features.json": (lambda d: cut(d / "features.json", 40), "features.json: not valid JSON"),
    "empty features.json": (lambda d: (d / "features.json").write_text("{}"), "TFDS cannot read its dataset_info.json"),
    "no shard": (lambda d: (d / SHARD).unlink(), f"{SHARD}: missing"),
    "empty shard": (lambda d: cut(d / SHARD, 0), f"{SHARD}: truncated or damaged"),
    "truncated shard": (lambda d: cut(d / SHARD, (d / SHARD).stat().st_size // 2), f"{SHARD}: truncated or damaged"),
    "byte missing": (lambda d: cut(d / SHARD, (d / SHARD).stat().st_size - 1), f"{SHARD}: truncated or damaged"),
    "flipped bit": (
        lambda d: flip(d / SHARD, (d / SHARD).read_bytes().index(b"PNG") + 50),
        f"{SHARD} cannot be read as an image: its example cannot be read",
    ),
    "other examples": (
        lambda d: write_array_record(d / SHARD, [b"\x0a\xff"] * 4),
        f"{SHARD} cannot be read as an image: its",
    ),
    "other count": (lambda d: write_array_record(d / SHARD, [b""] * 5), f"{SHARD}: has 5 examples, but .*json says 4"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_directory_is_named_with_what_to_do(small: Path, kind: str) -> None:
    damage, sentence = DAMAGE[kind]
    damage(small)
    command = f"python -m experiments.prepare cifar10 --data-dir {small.parents[1]}"
    refused(small.parents[1], f"^(image 0 of test in )?{small}.*{sentence}.*; delete {small} and run {command}\\.$")


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
    refused(tmp_path, f"^image 4 of train in {shard} cannot be read as an image: image file is truncated; delete ")
