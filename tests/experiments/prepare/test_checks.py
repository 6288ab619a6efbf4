"""Preparing a TFDS data set: what is checked beforehand. No TensorFlow here."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import tensorflow_datasets
from tensorflow_datasets.core.download import checksums, resource
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError

from experiments import prepare
from resnet_jax.errors import UserError
from tests.experiments.prepare.builder import URL, Builder, asked_for, nobody, refused


def test_without_tensorflow_the_command_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = prepare.importlib.util.find_spec
    monkeypatch.setattr(
        prepare.importlib.util, "find_spec", lambda name: None if name in prepare.NEEDED else find(name)
    )
    urls = asked_for(monkeypatch, nobody)
    message = refused(tmp_path)
    assert message == (
        "preparing needs packages that are not installed: tensorflow and importlib_resources; "
        "run pip install -e '.[prepare]'"
    )
    assert urls == []


def test_a_tensorflow_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # importing it raises ImportError
    with pytest.raises(UserError, match=r"TensorFlow is installed but fails: .*; try pip install -e '\.\[prepare\]'"):
        prepare._require_tensorflow()


def test_no_such_name_comes_before_all_else(tmp_path: Path) -> None:
    assert "has no 'cfar10'; the nearest names are cifar10" in refused(tmp_path, "cfar10")
    assert "has no configuration '161px'" in refused(tmp_path, "imagenette/161px")


def test_without_a_network_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_builder: Callable[[Builder], None]
) -> None:
    with_builder(Builder(tmp_path, work=lambda: pytest.fail("TFDS would retry for minutes")))
    urls = asked_for(monkeypatch, nobody)
    assert refused(tmp_path) == (
        f"cifar10: data.invalid cannot be reached; run this command on a machine with a network, or "
        f"put {URL} into {tmp_path}/downloads/manual and run it again."
    )
    assert urls == [URL]


def test_many_urls_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_builder: Callable[[Builder], None]
) -> None:
    known = checksums.UrlInfo(size=1, checksum="0" * 64, filename=None)
    with_builder(Builder(tmp_path, url_infos={f"https://{host}.invalid/{i}": known for host in "ab" for i in range(3)}))
    urls = asked_for(monkeypatch, nobody)
    message = refused(tmp_path)
    assert "a.invalid and b.invalid cannot be reached" in message
    assert "a.invalid/0, https://a.invalid/1, https://a.invalid/2 and 3 more into" in message
    assert len(urls) == 2  # a host once


def test_files_that_are_there_need_no_network(tmp_path: Path) -> None:
    builder, downloads = Builder(tmp_path), tmp_path / "downloads"
    assert prepare.missing_urls(builder, downloads) == [URL]
    by_hand = downloads / "manual" / "pictures.tar.gz"
    by_hand.parent.mkdir(parents=True)
    by_hand.touch()
    assert prepare.missing_urls(builder, downloads) == []
    by_hand.unlink()
    cached = downloads / "cifar10" / resource.get_dl_fname(URL, "0" * 64)
    cached.parent.mkdir()
    cached.touch()
    cached.with_name(f"{cached.name}.INFO").touch()
    assert prepare.missing_urls(builder, downloads) == []
    assert prepare.missing_urls(Builder(tmp_path, url_infos=None), downloads) == []


def test_a_full_disk(tmp_path: Path, with_builder: Callable[[Builder], None]) -> None:
    builder = Builder(tmp_path)
    builder.info.dataset_size = 10**18
    with_builder(builder)
    message = refused(tmp_path / "not" / "yet")
    assert message.startswith("cifar10: needs 1000000000.0 GB of disk space, ")
    assert f"{tmp_path} has " in message


def test_a_file_in_the_way_comes_before_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_builder: Callable[[Builder], None]
) -> None:
    with_builder(Builder(tmp_path))
    urls = asked_for(monkeypatch, nobody)
    for file, place in ((tmp_path / "file", tmp_path / "file" / "below"), (tmp_path / "cifar10", tmp_path)):
        file.touch()
        assert refused(place) == f"data-dir: {file} is a file; legal: a folder."
    monkeypatch.setattr(prepare.os, "access", lambda path, mode: False)
    assert refused(tmp_path / "new").startswith(f"data-dir: {tmp_path} is not writable, so {tmp_path}/new/cifar")
    assert urls == []


def test_another_kind_of_data_is_not_downloaded(tmp_path: Path, with_builder: Callable[[Builder], None]) -> None:
    text = tensorflow_datasets.features.FeaturesDict({"text": tensorflow_datasets.features.Text()})
    with_builder(Builder(tmp_path, info=SimpleNamespace(features=text)))
    assert "its features are text; supported: uint8 images" in refused(tmp_path)


def test_files_to_be_downloaded_by_hand(tmp_path: Path, with_builder: Callable[[Builder], None]) -> None:
    with_builder(Builder(tmp_path, MANUAL_DOWNLOAD_INSTRUCTIONS="Register,\n  then fetch it.\n"))
    assert refused(tmp_path) == (
        f"cifar10: its files must be downloaded by hand into {tmp_path}/downloads/manual. "
        "TFDS says: Register, then fetch it."
    )


@pytest.mark.parametrize(
    "error",
    [
        DownloadError("Failed to get url https://data.invalid. HTTP code: 404."),
        NonMatchingChecksumError("Artifact https://data.invalid, has wrong checksum:\n* Expected: a"),
        requests.ConnectionError("it went away"),
        ImportError("no module named scipy"),
    ],
)
def test_what_fails_within_tfds_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_builder: Callable[[Builder], None], error: Exception
) -> None:
    def fail() -> None:
        raise error

    with_builder(Builder(tmp_path, work=fail))
    asked_for(monkeypatch, lambda url: None)
    assert refused(tmp_path).startswith(
        f"cifar10: its preparation by TFDS failed: {str(error).splitlines()[0].rstrip(':.')}"
    )


def test_a_version_that_tfds_cannot_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_builder: Callable[[Builder], None]
) -> None:
    def make(name: str, **options: Any) -> None:
        raise AssertionError(f"Failed to construct \"{name}\", kwargs \"{{'a': 'b'}}\": {name}: only 3.0.2.")

    with_builder(Builder(tmp_path))
    monkeypatch.setattr(tensorflow_datasets, "builder", make)
    said = refused(tmp_path, "cifar10:1.0.0")
    assert said.startswith("cifar10:1.0.0: ")
    assert "only 3.0.2" in said
