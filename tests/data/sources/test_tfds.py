"""TFDS by name: real prepared data, written here without TensorFlow.

No test may reach for a network: that is how "fails within seconds" is asserted, rather than by a clock.
"""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rich
import tensorflow_datasets
from PIL import Image

from resnet_jax.data import memory
from tests.data.prepared import (
    Examples,
    encode,
    examples,
    labelled,
    random_images,
    read,
    refused,
    write,
)

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("no_network")


@pytest.mark.parametrize("shards", [1, 3])
def test_pixels_labels_and_order_are_those_written(tmp_path: Path, shards: int) -> None:
    train, test = random_images(10), random_images(4, seed=1)
    directory = write(tmp_path, {"train": examples(train), "test": examples(test)}, shards=shards)
    told: list[str] = []
    data = read(data_dir=tmp_path, note=told.append)
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
    data = read(data_dir=tmp_path)
    assert data.image_shape == (8, 8, channels)
    np.testing.assert_array_equal(data.train.images, images.reshape(3, 8, 8, channels))


def test_jpegs_are_pillow_s_and_grey_becomes_colour(tmp_path: Path) -> None:
    grey, colour = encode(random_images(1, (8, 8))[0], "JPEG"), encode(random_images(1)[0], "JPEG")
    content = [(grey, 0), (colour, 1), (grey, 2)]
    write(tmp_path, {"train": content, "test": content}, features=labelled((None, None, 3)))
    data = read(data_dir=tmp_path)
    expected = [np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")) for encoded, _ in content]
    np.testing.assert_array_equal(data.train.images, np.stack(expected))


def test_validation_where_there_is_no_test(tmp_path: Path) -> None:
    train, validation = random_images(3), random_images(4, seed=1)
    write(tmp_path, {"train": examples(train), "validation": examples(validation)})
    told: list[str] = []
    data = read(data_dir=tmp_path, note=told.append)
    np.testing.assert_array_equal(data.test.images, validation)
    assert told[0].startswith("CIFAR-10: ")
    assert "the split validation" in told[0]


def test_no_split_to_test_on(tmp_path: Path) -> None:
    write(tmp_path, {"train": examples(random_images(3)), "extra": examples(random_images(3))})
    refused(tmp_path, r"cifar10: it has the splits train, extra; needed: train, and either test or validation")


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
    assert len(read(name, data_dir=str(tmp_path)).train) == count


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
    assert read(name, data_dir=str(tmp_path)).name == display


def test_the_usual_place(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(small.parents[1]))
    assert len(read("cifar10", data_dir=None).train) == 7


def test_classes_without_names_are_numbered_and_told(tmp_path: Path) -> None:
    directory = write(tmp_path, {"train": examples(random_images(3)), "test": examples(random_images(3))})
    (directory / "label.labels.txt").unlink()
    told: list[str] = []
    assert read(data_dir=tmp_path, note=told.append).class_names == ("0", "1", "2")
    assert told[0] == (
        f"CIFAR-10: no names of the classes are stored (there is no {directory}/label.labels.txt); numbers are used."
    )


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("a\nb\na\n", "gives class 0 and class 2 the same name, 'a'; the names must differ"),
        ("caf\u00e9\nb\ncafe\u0301\n", "gives class 0 and class 2 the same name"),
        ("a\nb\nc\td\n", r"gives class 2 the name 'c\\td'; legal: .* no control characters"),
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
    read(data_dir=small.parents[1], note=told.append)
    assert "reading CIFAR-10" in screen.getvalue()
    assert "11/11" in screen.getvalue()
    assert len(told) == 1


def test_tensorflow_is_not_imported_even_where_it_is_installed(small: Path, tmp_path: Path) -> None:
    trap = tmp_path / "site" / "tensorflow"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise SystemExit('TensorFlow was imported')")
    program = f"""
from resnet_jax.config import DataConfig
from resnet_jax.data import load
from resnet_jax.errors import UserError
print(len(load(DataConfig(source="tfds", name="cifar10", path={str(small.parents[1])!r}), print).train))
try:
    load(DataConfig(source="tfds", name="mnist", path={str(tmp_path)!r}), print)
except UserError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": f"{trap.parent}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "\n7\n" in done.stdout
    # TensorFlow is there, so that nothing has to be installed.
    assert done.stdout.endswith(f"run python -m experiments.prepare mnist --data-dir {tmp_path}\n")


# --- of another kind ---


def test_images_of_different_sizes(tmp_path: Path) -> None:
    content = [*examples(random_images(2)), (encode(random_images(1, (8, 9, 3))[0]), 0)]
    write(tmp_path, {"train": content, "test": content}, features=labelled((None, None, 3)))
    refused(tmp_path, "the first is 8x8 pixels and image 2 of train in .* is 9x8 pixels; to crop all to one size, use ")


def test_training_and_test_images_of_different_sizes(tmp_path: Path) -> None:
    content = {"train": examples(random_images(3)), "test": examples(random_images(3, (9, 9, 3)))}
    write(tmp_path, content, features=labelled((None, None, 3)))
    refused(tmp_path, "images differ in size: the first is 8x8 pixels and image 0 of test in .* is 9x9 pixels")


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
    refused(small.parents[1], "11 images of 8x8x3 need 2,112 bytes of memory and 1,000 bytes are available; use --data")
