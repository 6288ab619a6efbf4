"""Data that TFDS has prepared as tfrecord, made into array_record without TensorFlow."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import cli, prepare
from resnet_jax.errors import UserError
from tests.data.prepared import examples, random_images, read, write


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `main` sets for TensorFlow is gone after the test; the proxies of this machine do not matter."""
    for name, value in (("TF_CPP_MIN_LOG_LEVEL", "3"), ("CUDA_VISIBLE_DEVICES", "-1"), ("NO_PROXY", "*")):
        monkeypatch.setenv(name, value)


def refused(data_dir: Path, name: str = "cifar10") -> str:
    with pytest.raises(UserError) as caught:
        prepare.main([name, "--data-dir", str(data_dir)])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tfrecord_becomes_array_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = random_images(7), random_images(4, seed=1)
    content = {"train": examples(train), "test": examples(test)}
    directory = write(tmp_path, content, shards=2, file_format="tfrecord")
    before = {file: file.read_bytes() for file in directory.glob("*.tfrecord-*")}
    assert prepare.main(["cifar10", "--data-dir", str(tmp_path)]) == cli.OK
    assert "converting cifar10-train.tfrecord-00001-of-00002" in capsys.readouterr().out
    data = read(data_dir=tmp_path)
    np.testing.assert_array_equal(data.train.images, train)
    np.testing.assert_array_equal(data.test.images, test)
    assert {file: file.read_bytes() for file in directory.glob("*.tfrecord-*")} == before
    assert not list(directory.glob("incomplete.*"))
    # TFDS itself still takes it for tfrecord first.
    assert json.loads((directory / "dataset_info.json").read_text())["fileFormat"] == "tfrecord"


@pytest.mark.parametrize("size", [5, 14, -1])
def test_a_truncated_tfrecord(tmp_path: Path, size: int) -> None:
    content = {"train": examples(random_images(3)), "test": examples(random_images(3))}
    directory = write(tmp_path, content, file_format="tfrecord")
    shard = directory / "cifar10-test.tfrecord-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:size])
    assert refused(tmp_path).startswith(f"{shard}: truncated; delete {directory} and run python -m experiments.prepare")
    shard.unlink()
    assert refused(tmp_path).startswith(f"{shard}: missing; delete {directory}")
    assert not list(directory.glob("incomplete.*"))
    with pytest.raises(UserError, match="prepared as tfrecord"):  # still what it was
        read(data_dir=tmp_path)
