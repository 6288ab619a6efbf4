"""Grey pictures and colour ones in a folder: `data.channels`, for images in memory and for streamed ones."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_jax.config import DataConfig, ExperimentConfig, FinetuneConfig, ModelConfig
from resnet_jax.data import Dataset, load
from resnet_jax.errors import UserError
from resnet_jax.training.assemble import assemble
from resnet_jax.weights import files
from tests.data.pictures import photo, write
from tests.weights.factory import random_weights

Read = Callable[..., DataConfig]


pytestmark = pytest.mark.usefixtures("cache_home")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eighteen grey pictures."""
    folder = write(tmp_path / "pictures")
    for file in folder.rglob("*.JPEG"):
        with Image.open(file) as image:
            grey = image.convert("L")
        grey.save(file)
    return folder


@pytest.fixture(params=["memory", "stream"])
def read(request: pytest.FixtureRequest, root: Path) -> Read:
    """Gives the configuration of the pictures, with changes."""
    config = DataConfig(source="folder", path=str(root), image_size=20)
    if request.param == "stream":
        config = dataclasses.replace(config, stream=True, eval_resize=20, statistics_images=6)
    return lambda **changes: dataclasses.replace(config, **changes)


def heard(config: DataConfig) -> tuple[Dataset, list[str]]:
    told: list[str] = []
    return load(config, told.append), told


def one_in_colour(root: Path) -> Path:
    file = root / "val" / "n00000001" / "val_00000.JPEG"
    photo(50, 60, 1).save(file)
    return file


def test_a_folder_of_grey_pictures_in_colour(read: Read) -> None:
    grey, colour = heard(read())[0], heard(read(channels=3))[0]
    assert (grey.image_shape, colour.image_shape) == ((20, 20, 1), (20, 20, 3))
    index = np.arange(12)
    np.testing.assert_array_equal(colour.train.take(index), np.repeat(grey.train.take(index), 3, axis=3))
    assert grey.fingerprint != colour.fingerprint


def test_one_colour_picture_makes_all_of_them_colour_and_a_sentence_says_so(read: Read, root: Path) -> None:
    one_in_colour(root)
    for _ in range(2):  # the second time from what was kept
        dataset, told = heard(read())
        assert dataset.image_shape == (20, 20, 3)
        expected = (
            "17 of 18 images are grey and 1 in colour (val/n00000001/val_00000.JPEG), so all are read in colour; "
            "--data.channels=1 reads all in grey."
        )
        assert told.count(expected) == 1
    for channels in (1, 3):
        dataset, told = heard(read(channels=channels))
        assert dataset.image_shape == (20, 20, channels)
        assert not any("in colour" in line for line in told)


def test_a_colour_picture_in_grey_is_what_pillow_makes_of_it(read: Read, root: Path) -> None:
    file = one_in_colour(root)
    test = heard(read(channels=1))[0].test
    with Image.open(file) as stored:
        # The shorter side to 20 pixels, and the middle of the longer one.
        expected = stored.convert("L").resize((20, 24), Image.Resampling.BILINEAR).crop((0, 2, 20, 22))
    np.testing.assert_array_equal(test.take(np.array([2]))[0, :, :, 0], np.asarray(expected))


def test_a_few_grey_pictures_among_colour_ones_need_no_word(tmp_path: Path) -> None:
    folder = write(tmp_path / "colours")
    file = folder / "train" / "n00000000" / "train_00000.JPEG"
    photo(50, 60, 1).convert("L").save(file)
    dataset, told = heard(DataConfig(source="folder", path=str(folder), image_size=20))
    assert dataset.image_shape == (20, 20, 3)
    assert not any("in colour" in line for line in told)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_only_grey_and_colour_are_channels(channels: int) -> None:
    with pytest.raises(UserError, match=rf"^data\.channels: got {channels}; legal: 1, 3 or 'auto'\.$"):
        DataConfig(source="folder", path="x", channels=channels)


def test_channels_are_those_of_files() -> None:
    with pytest.raises(UserError, match=r"data\.channels: got 3, which has an effect only with"):
        DataConfig(channels=3).require_effect()


def test_a_net_for_colour_is_trained_on_grey_pictures(read: Read, tmp_path: Path) -> None:
    net = ModelConfig(family="cifar", depth=8, width=4)
    files.save(random_weights(net, channels=3), tmp_path / "net")
    config = ExperimentConfig(model=net, finetune=FinetuneConfig(weights=str(tmp_path / "net")), data=read())
    with pytest.raises(
        UserError, match=r"takes images of 3 channels, but the images of .* have 1; use --data\.channels=3"
    ):
        assemble(config)
    found = assemble(dataclasses.replace(config, data=read(channels=3)))
    assert found.dataset.image_shape == (20, 20, 3)
