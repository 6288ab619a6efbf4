"""experiments.evaluate by the papers' protocols, beside explicit crops and whole pictures that the net is given."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from experiments import cli, evaluate
from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.weights import files, preprocessing
from resnet_jax.weights.classifier import Classifier
from tests.data.pictures import photo
from tests.weights.factory import random_weights

CLASSES = tuple(f"class {i}" for i in range(10))
NET = ModelConfig(family="cifar", depth=8, width=4, num_classes=10)
Views = Callable[[Image.Image], list[Image.Image]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net that takes 24 -> 20 pixels by bicubic interpolation, and ten pictures in three classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("experiments.machine.use_compilation_cache", lambda runs: None)
    net = dataclasses.replace(
        random_weights(NET, seed=3),
        preprocessing=preprocessing.per_channel(24, 20, interpolation="bicubic"),
        class_names=CLASSES,
    )
    files.save(net, Path("net"))
    for i in range(10):
        folder = Path("test") / CLASSES[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        photo(40 + 3 * (i % 4), 45 - 5 * (i % 2), i).save(folder / f"{i}.png")
    return tmp_path


def result(*options: str) -> Any:
    assert evaluate.main(["--weights", "net", "--out", "e.json", *options, "test"]) == cli.OK
    return json.loads(Path("e.json").read_text())


def check(found: Any, views: Views) -> None:
    """Against the mean probabilities of some views of each picture and of their mirror images."""
    classifier = Classifier(files.load(Path("net")))
    first, among, losses = 0, 0, []
    paths = sorted(Path("test").rglob("*.png"))
    for path in paths:
        with Image.open(path) as stored:
            seen = [np.asarray(view) for view in views(stored.convert("RGB"))]
        each = []
        for view in [*seen, *(view[:, ::-1] for view in seen)]:
            logits, _ = classifier.logits(view[None])
            each.append(np.exp(logits[0]) / np.exp(logits[0]).sum())
        mean, label = np.mean(each, axis=0), CLASSES.index(path.parent.name)
        rank = (-mean).argsort().tolist().index(label)
        first, among = first + (rank > 0), among + (rank >= 5)
        losses.append(-np.log(mean[label]))
    assert found["images"] == len(paths) == 10
    assert (found["error"], found["top5_error"]) == (first / 10, among / 10)
    np.testing.assert_allclose(found["loss"], np.mean(losses), rtol=1e-5)
    assert np.std(losses) > 0.1, "the pictures are told apart"


def shorter_side_to(image: Image.Image, side: int) -> Image.Image:
    width, height = (int(length * side / min(image.size)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def ten(image: Image.Image) -> list[Image.Image]:
    image = shorter_side_to(image, 24)
    right, bottom = image.width - 20, image.height - 20
    places = [(round(right / 2), round(bottom / 2)), (0, 0), (right, 0), (0, bottom), (right, bottom)]
    return [image.crop((x, y, x + 20, y + 20)) for x, y in places]


def scales(image: Image.Image) -> list[Image.Image]:
    found = []
    for side in (16, 24):
        scale = side / min(image.size)
        # The shorter side is exactly the scale's; the longer one is rounded to a multiple of 8, and no less.
        width, height = (max(side, 8 * round(length * scale / 8)) for length in image.size)
        size = (side, height) if image.width <= image.height else (width, side)
        found.append(image.resize(size, Image.Resampling.BICUBIC))
    return found


@pytest.mark.parametrize("devices", [1, 3])
def test_ten_crops(place: Path, devices: int) -> None:
    found = result("--protocol", "ten_crop", f"--devices={devices}")
    assert found["protocol"] == "ten_crop"
    check(found, ten)


def test_several_scales(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = result("--protocol", "multi_scale", "--scales", "16", "24", "--multiple=8")
    check(found, scales)
    assert "mean of several scales" in capsys.readouterr().out


def test_a_picture_that_cannot_be_read(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "test" / "class 1" / "bad.png").write_text("no picture")
    assert evaluate.main(["--weights", "net", "--protocol", "ten_crop", "test"]) == cli.BAD_INPUT
    printed = capsys.readouterr()
    assert "on 10 images of test" in printed.out
    assert "error: test/class 1/bad.png cannot be read as an image" in printed.err
    path = place / "test" / "class 1" / "1.png"
    path.write_bytes(path.read_bytes()[:-200])  # its header is whole
    with pytest.raises(UserError, match=r"^test/class 1/1\.png cannot be read as an image: .*truncated"):
        evaluate.main(["--weights", "net", "--protocol", "ten_crop", "test"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--resize=30"],
            "resize: got 30, which has an effect only with protocol 'ten_crop'; omit",
        ),
        (
            ["--protocol=ten_crop", "--scales", "16"],
            r"scales: got \(16,\), which has .* only with protocol 'multi_scale'",
        ),
        (["--devices=2"], "devices: got 2, which has .* only with protocol 'ten_crop' or 'multi_scale'"),
        (
            ["--protocol=ten_crop", "--resize=20"],
            "resize: got 20; legal: more than 20, the size of the crops that random",
        ),
        (["--protocol=ten_crop", "--resize=0"], "resize: got 0; legal: a whole number above 0"),
        (["--protocol=multi_scale", "--scales", "16", "-1"], r"scales: got \(16, -1\); legal: whole numbers above 0"),
        (["--protocol=multi_scale", "--multiple=0"], "multiple: got 0; legal: a whole number above 0"),
        (["--protocol=ten_crop", "--devices=99"], "devices: got 99"),
    ],
)
def test_bad_options(place: Path, options: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        evaluate.main(["--weights", "net", *options, "test"])


def test_a_net_whose_pictures_are_not_square(place: Path) -> None:
    net = files.load(Path("net"))
    wide = dataclasses.replace(net.preprocessing, resize=None, height=20, width=24)
    files.save(dataclasses.replace(net, preprocessing=wide, read_from=None), Path("wide"))
    with pytest.raises(UserError, match=r"protocol: got 'ten_crop'; legal: 'center', because .* of 24x20 pixels"):
        evaluate.main(["--weights", "wide", "--protocol=ten_crop", "test"])
