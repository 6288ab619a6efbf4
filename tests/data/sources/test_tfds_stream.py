"""TFDS's array_record as a streamed source: real prepared data of JPEGs of many sizes, beside a folder of the same."""

import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets

from resnet_jax.config import DataConfig, ExperimentConfig, ModelConfig, OptimConfig, TrainConfig
from resnet_jax.data import Draws, decode, load
from resnet_jax.data.crops import Pass
from resnet_jax.data.stream import StreamSource
from resnet_jax.data.tfds_records import TfdsRecords
from resnet_jax.errors import UserError
from resnet_jax.training.run import run
from tests.data.pictures import streamed, write as write_folder
from tests.data.prepared import encode, labelled, write

SETTINGS: dict[str, Any] = {"image_size": 20, "eval_resize": 24, "crop": "scale", "scales": (24, 40)}
Content = dict[str, list[tuple[bytes, int]]]


pytestmark = pytest.mark.usefixtures("cache_home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pictures")


@pytest.fixture
def content(folder: Path) -> Content:
    """Training and validation images as ImageNet's are named in TFDS; in the folder's order."""
    found: Content = {}
    for split, part in (("train", "train"), ("validation", "val")):
        files = sorted((folder / part).rglob("*.JPEG"))
        found[split] = [(file.read_bytes(), int(file.parent.name[1:])) for file in files]
    return found


def features(names: tuple[str, ...] = ("n00000000", "n00000001", "n00000002")) -> dict[str, Any]:
    """ImageNet's features."""
    kinds = tensorflow_datasets.features
    found = {"image": kinds.Image(shape=(None, None, 3), encoding_format="jpeg")}
    return {**found, "label": kinds.ClassLabel(names=list(names))}


def prepared(tmp_path: Path, content: Content, **details: Any) -> Path:
    directory = write(tmp_path / "tfds", content, **{"name": "my_own", "features": features(), "shards": 3, **details})
    names = directory / "label.labels.txt"
    if not names.exists():
        names.write_text("n00000000\nn00000001\nn00000002\n")
    return directory


def config(tmp_path: Path, **changes: Any) -> DataConfig:
    settings = {**SETTINGS, "normalize": "channel_mean_std", "flip": True, "statistics_images": 6}
    settings |= {"source": "tfds", "name": "my_own", "path": str(tmp_path / "tfds"), "stream": True}
    return DataConfig(**{**settings, **changes})


def test_the_same_images_as_from_a_folder(tmp_path: Path, folder: Path, content: Content) -> None:
    prepared(tmp_path, content)
    found, expected = load(config(tmp_path, workers=3)), load(streamed(folder))
    assert found.class_names == expected.class_names
    draws = Draws(3, np.repeat([0, 1], 12))
    for one, other in ((found.train, expected.train), (found.test, expected.test)):
        assert isinstance(one, StreamSource)
        assert isinstance(other, StreamSource)
        np.testing.assert_array_equal(one.labels, other.labels)
        index = np.resize(np.arange(len(one)), 24)
        np.testing.assert_array_equal(one.take(index, draws), other.take(index, draws))
        look = Pass(24, 20, corners=True)
        np.testing.assert_array_equal(one.views(np.arange(4), look), other.views(np.arange(4), look))


def test_examples_are_read_once_before_the_first_step(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(tmp_path, content)
    told: list[str] = []
    first = load(config(tmp_path), told.append)
    assert sum("reading the headers" in line for line in told) == 1
    assert any("the split validation is used for testing instead" in line for line in told)
    monkeypatch.setattr("resnet_jax.data.tfds_records.TfdsRecords.entry", None)
    assert load(config(tmp_path)).fingerprint == first.fingerprint


def test_chosen_classes(tmp_path: Path, content: Content) -> None:
    prepared(tmp_path, content)
    whole, some = load(config(tmp_path)), load(config(tmp_path, classes=("n00000002", "n00000000")))
    assert some.class_names == ("n00000000", "n00000002")
    assert some.train.labels.tolist() == [0] * 4 + [1] * 4
    index = np.array([0, 1, 2, 3, 8, 9, 10, 11])
    np.testing.assert_array_equal(some.train.take(np.arange(8)), whole.train.take(index))
    assert some.fingerprint != whole.fingerprint
    with pytest.raises(UserError, match=r"data\.classes: got 'cat', which is not a class of the data"):
        load(config(tmp_path, classes=("cat", "n00000000")))


def test_a_net_is_trained_on_it(tmp_path: Path, folder: Path, content: Content) -> None:
    prepared(tmp_path, content)

    def trained(name: str, data: DataConfig) -> Any:
        whole = ExperimentConfig(
            model=ModelConfig(family="cifar", depth=8, width=4),
            data=data,
            optim=OptimConfig(milestones=()),
            train=TrainConfig(iterations=3, batch_size=8, eval_batch_size=4),
        )
        return run(whole, tmp_path / "runs" / name, study="s")

    found, expected = trained("tfds", config(tmp_path)), trained("folder", streamed(folder))
    assert found.final_fingerprint == expected.final_fingerprint
    assert found.final == expected.final


def test_the_fingerprint_is_that_of_the_files(tmp_path: Path, content: Content) -> None:
    directory = prepared(tmp_path, content)
    first = load(config(tmp_path)).fingerprint
    shutil.copytree(tmp_path / "tfds", tmp_path / "copy")
    assert load(config(tmp_path, path=str(tmp_path / "copy"))).fingerprint == first
    content["train"][0] = content["train"][1]
    shutil.rmtree(directory)
    prepared(tmp_path, content)
    assert load(config(tmp_path)).fingerprint != first


def test_equal_files_elsewhere_have_statistics_of_their_own(tmp_path: Path, content: Content) -> None:
    prepared(tmp_path, content)
    shutil.copytree(tmp_path / "tfds", tmp_path / "copy")
    states = []
    for path in (tmp_path / "tfds", tmp_path / "copy", tmp_path / "tfds"):
        source = load(config(tmp_path, path=str(path))).train
        assert isinstance(source, StreamSource)
        states.append(source.state)
    assert states[0] == states[2] != states[1]


def test_an_image_too_long_for_several_scales(tmp_path: Path, content: Content) -> None:
    content["validation"][1] = (encode(np.zeros((1, 9000, 3), np.uint8)), 0)
    prepared(tmp_path, content)
    with pytest.raises(UserError, match=r"^image 1 of validation in .* cannot be used: it is so narrow"):
        load(config(tmp_path, protocol="multi_scale"))


def test_a_read_error_that_passes_is_not_kept(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(tmp_path, content)
    real = TfdsRecords.example

    def fail(self: TfdsRecords, position: int) -> Any:
        if position == 5:
            raise decode.Unreadable("its example cannot be read (Input/output error)", passing=True)
        return real(self, position)

    with monkeypatch.context() as patch:
        patch.setattr(TfdsRecords, "example", fail)
        with pytest.raises(UserError, match=r"^image 5 of train in "):
            load(config(tmp_path))
    assert len(load(config(tmp_path)).train) == 12


def test_images_of_one_channel(tmp_path: Path, content: Content) -> None:
    prepared(tmp_path, content, features=labelled((None, None, 1)))
    assert load(config(tmp_path)).image_shape == (20, 20, 1)
    assert load(config(tmp_path, channels=3)).image_shape == (20, 20, 3)


def test_images_with_alpha(tmp_path: Path, content: Content) -> None:
    prepared(tmp_path, content, features=labelled((None, None, 4)))
    with pytest.raises(UserError, match=r"its images have 4 channels, .* --data\.channels=3 reads them in colour"):
        load(config(tmp_path))
    assert load(config(tmp_path, channels=3)).image_shape == (20, 20, 3)


def test_labels_that_are_no_classes(tmp_path: Path, content: Content) -> None:
    content["validation"] = [(image, -1) for image, _ in content["validation"]]
    prepared(tmp_path, content)
    with pytest.raises(UserError, match=r"my_own: it has labels from -1 to 2; legal: 0 to 2, for 3 classes"):
        load(config(tmp_path))


def test_an_image_that_is_none(tmp_path: Path, content: Content) -> None:
    content["train"][5] = (b"not an image", 1)
    directory = prepared(tmp_path, content)
    shard = directory / "my_own-train.array_record-00001-of-00003"
    with pytest.raises(UserError, match=rf"^image 5 of train in {shard} cannot be read as an image: .*; delete "):
        load(config(tmp_path))


def test_an_image_whose_pixels_are_damaged_stops_the_run(tmp_path: Path, content: Content) -> None:
    content["train"][5] = (content["train"][5][0][:-300], 1)  # its header is whole
    prepared(tmp_path, content)
    source = load(config(tmp_path)).train
    with pytest.raises(UserError, match=r"^image 5 of train in .* cannot be read as an image: .*truncated.*; the run "):
        source.take(np.arange(4, 8), Draws(0, np.zeros(4, int)))


def test_a_file_that_vanishes(tmp_path: Path, content: Content) -> None:
    directory = prepared(tmp_path, content)
    load(config(tmp_path))
    source = load(config(tmp_path)).train  # nothing is open: the headers were kept
    (directory / "my_own-train.array_record-00001-of-00003").unlink()
    with pytest.raises(
        UserError, match=r"^image 4 of train in .*00001-of-00003 cannot be read as an image: its example"
    ):
        source.take(np.arange(4, 8), Draws(0, np.zeros(4, int)))


@pytest.mark.parametrize(
    ("soft", "hard", "expected"), [(1024, 4096, []), (100, 4096, [(518, 4096)]), (100, -1, [(518, -1)])]
)
def test_as_many_files_may_be_open_as_there_are(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, expected: Any
) -> None:
    prepared(tmp_path, content)  # six files, and 512 of others
    asked: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: asked.append(limits))
    load(config(tmp_path))
    assert asked == expected


def test_more_files_than_the_system_allows(tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(tmp_path, content)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (100, 200))
    with pytest.raises(UserError, match=r"its 6 files are kept open, but .* a process only 200 .* to 518"):
        load(config(tmp_path))
