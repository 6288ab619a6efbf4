"""Preparing a TFDS data set: the download, and an end that leaves nothing behind. No TensorFlow here."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from experiments import cli, prepare
from tests.data.prepared import examples, random_images, read, write
from tests.experiments.prepare.builder import ROOT, URL, Builder, asked_for, nobody, refused


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
