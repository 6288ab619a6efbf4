"""Preparing a TFDS data set: what is checked beforehand, and an end that leaves nothing behind. No TensorFlow here."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import tensorflow_datasets
from tensorflow_datasets.core.download import checksums, resource
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError

from experiments import cli, prepare
from resnet_jax.errors import UserError
from tests.data.prepared import examples, labelled, random_images, read, write

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0
URL = "https://data.invalid/files/pictures.tar.gz"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `main` sets for TensorFlow is gone after the test; the proxies of this machine do not matter."""
    for name, value in (("TF_CPP_MIN_LOG_LEVEL", "3"), ("CUDA_VISIBLE_DEVICES", "-1"), ("NO_PROXY", "*")):
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts of these tests answer at once; however slow this machine is, their answers are waited for."""
    assert inspect.signature(prepare.answers).parameters["seconds"].default == prepare.PROBE_SECONDS
    monkeypatch.setattr(prepare, "answers", partial(prepare.answers, seconds=PATIENCE))


def asked_for(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Any]) -> list[str]:
    """The URLs that are asked for; `answer` stands in for the network."""
    urls: list[str] = []

    def head(url: str, *, timeout: float) -> Any:
        assert timeout <= PATIENCE
        urls.append(url)
        return answer(url)

    monkeypatch.setattr(requests, "head", head)
    return urls


def nobody(url: str) -> None:
    raise requests.ConnectionError(f"{url}: no route")


class Builder(SimpleNamespace):
    """As much of a TFDS builder as preparing needs, in place of one that would need TensorFlow."""

    def __init__(self, data_dir: Path, work: Callable[[], Any] = lambda: None, **changes: Any) -> None:
        super().__init__(
            name="cifar10",
            data_dir=str(data_dir / "cifar10" / "3.0.2"),
            info=SimpleNamespace(
                features=tensorflow_datasets.features.FeaturesDict(labelled()), download_size=10, dataset_size=20
            ),
            url_infos={URL: checksums.UrlInfo(size=10, checksum="0" * 64, filename="pictures.tar.gz")},
            MANUAL_DOWNLOAD_INSTRUCTIONS=None,
            download_and_prepare=work,
        )
        vars(self).update(changes)


@pytest.fixture
def with_builder(monkeypatch: pytest.MonkeyPatch) -> Callable[[Builder], None]:
    """Installs a builder, and lets TensorFlow pass for installed."""

    def install(builder: Builder) -> None:
        def make(name: str, *, data_dir: Path, file_format: str) -> Builder:
            assert file_format == "array_record"
            return builder

        monkeypatch.setattr(tensorflow_datasets, "builder", make)
        monkeypatch.setattr(prepare, "_require_modules", lambda: None)
        monkeypatch.setattr(prepare, "_require_tensorflow", lambda: None)

    return install


def refused(data_dir: Path, name: str = "cifar10") -> str:
    with pytest.raises(UserError) as caught:
        prepare.main([name, "--data-dir", str(data_dir)])
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- checks beforehand --------------------------------------------------------------------------------------------


def test_without_tensorflow_the_command_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = prepare.importlib.util.find_spec
    monkeypatch.setattr(
        prepare.importlib.util, "find_spec", lambda name: None if name in prepare.NEEDED else find(name)
    )
    urls = asked_for(monkeypatch, nobody)
    message = refused(tmp_path)
    assert message == (
        "preparing needs tensorflow and importlib_resources, not installed here; run pip install -e '.[prepare]'"
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
        f"cifar10: data.invalid cannot be reached; prepare where there is a network, or put {URL} into "
        f"{tmp_path}/downloads/manual and run this again."
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
        assert refused(place) == (
            f"data-dir: {file} is a file, so {place}/cifar10 cannot be prepared; give a folder, or a new path."
        )
    monkeypatch.setattr(prepare.os, "access", lambda path, mode: False)
    assert refused(tmp_path / "new").startswith(
        f"data-dir: {tmp_path} cannot be written to, which {tmp_path}/new/cifar"
    )
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
        f"cifar10: TFDS could not prepare it: {str(error).splitlines()[0].rstrip(':.')}"
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


# --- does anybody answer? -----------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[str]:
    """A host that answers 404 to everything."""

    class NotFound(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), NotFound) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/x"
        http.shutdown()


def test_any_answer_of_any_host_will_do(server: str) -> None:
    closed = "http://127.0.0.1:1/x"
    assert prepare.answers([server])
    assert prepare.answers([closed, server])
    assert not prepare.answers([closed])
    assert prepare.answers([closed, "ftp://127.0.0.1/x"])


def test_a_host_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    asked_for(monkeypatch, lambda url: never.wait())
    assert not prepare.answers([URL], seconds=0.01)
    never.set()


# --- prepared, and converted --------------------------------------------------------------------------------------


def test_download_and_prepare(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_builder: Callable[[Builder], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = {"train": examples(random_images(3)), "test": examples(random_images(3))}
    with_builder(Builder(tmp_path, work=lambda: write(tmp_path, content)))
    asked_for(monkeypatch, lambda url: None)
    assert prepare.main(["cifar10", "--data-dir", str(tmp_path)]) == cli.OK
    assert capsys.readouterr().out == (
        f"cifar10: prepared in {tmp_path}/cifar10/3.0.2; train on it with "
        f"--data.source=tfds --data.name=cifar10 --data.path={tmp_path}\n"
    )
    urls = asked_for(monkeypatch, nobody)
    assert prepare.main(["cifar10", "--data-dir", str(tmp_path)]) == cli.OK
    assert capsys.readouterr().out == f"cifar10: already prepared in {tmp_path}/cifar10/3.0.2\n"
    assert urls == []


def test_a_home_of_nobodys_is_a_folder_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "~nobodyhere", {"train": examples(random_images(3)), "test": examples(random_images(3))})
    assert prepare.main(["cifar10", "--data-dir", "~nobodyhere"]) == cli.OK
    assert capsys.readouterr().out == f"cifar10: already prepared in {tmp_path}/~nobodyhere/cifar10/3.0.2\n"
    assert len(read("cifar10", data_dir="~nobodyhere").train) == 3


def test_the_last_line_can_be_pasted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_builder: Callable[[Builder], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "my data"
    content = {"train": examples(random_images(3)), "test": examples(random_images(3))}
    with_builder(Builder(place, work=lambda: write(place, content)))
    asked_for(monkeypatch, lambda url: None)
    prepare.main(["cifar10", "--data-dir", str(place)])
    assert capsys.readouterr().out.endswith(f" --data.name=cifar10 --data.path='{place}'\n")


def test_prepared_already_but_damaged(tmp_path: Path) -> None:
    directory = write(tmp_path, {"train": examples(random_images(3)), "test": examples(random_images(3))})
    (directory / "cifar10-train.array_record-00000-of-00001").unlink()
    assert "train.array_record-00000-of-00001: missing; delete " in refused(tmp_path)


# --- leaving early ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_partial_download(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_builder: Callable[[Builder], None],
    number: signal.Signals,
    request: pytest.FixtureRequest,
) -> None:
    old = tmp_path / "downloads" / "cifar10" / "a.tmp.1"
    old.mkdir(parents=True)

    def work() -> None:
        partial = tmp_path / "downloads" / "cifar10" / "b.tmp.2"
        partial.mkdir()
        (partial / "b").touch()
        os.kill(os.getpid(), number)
        time.sleep(60)

    with_builder(Builder(tmp_path, work=work))
    asked_for(monkeypatch, lambda url: None)
    # Python's own: a test that runs in a shell's background finds Ctrl-C ignored.
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, found))
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="interrupted; partial files were deleted"):
        prepare.main(["cifar10", "--data-dir", str(tmp_path)])
    assert list(old.parent.iterdir()) == [old]  # another process may be at it
    assert signal.getsignal(signal.SIGTERM) is handler


def test_the_command_as_a_stranger_meets_it(tmp_path: Path) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        words = (sys.executable, "-m", "experiments.prepare", *words)
        variables = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=variables, check=False)

    done = command("cfar10", "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (cli.BAD_INPUT, "")
    assert done.stderr.startswith("error: data.name: TFDS ")
    assert command("--help").returncode == cli.OK
    assert command().returncode == cli.BAD_INPUT
