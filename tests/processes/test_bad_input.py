"""Starts that cannot work: every process ends in seconds, before any step, with a sentence that says why."""

import socket
from pathlib import Path

import numpy as np
import pytest

from tests.processes.launch import NET, by_hand, environment, free_port, start

pytestmark = pytest.mark.slow


def both_say(
    folder: Path, first: list[str], second: list[str], *, devices: int = 2, changed: dict[str, str] | None = None
) -> str:
    """The sentence of two processes that end at once, which is the same for both.

    Args:
      folder: where they run; the first's data and runs are in it.
      first: options of process 0.
      second: options of process 1.
      devices: of the run.
      changed: variables of process 1's environment.
    """
    port = free_port()
    shared = [*NET, f"--parallel.devices={devices}"]
    run = start(
        folder,
        [[*shared, *by_hand(2, i, port), *options] for i, options in enumerate((first, second))],
        [environment(), environment(**(changed or {}))],
    )
    assert run.wait(300.0) == [2, 2], run.text()
    assert not list(folder.glob("**/metrics.jsonl"))
    said = {tuple(run.errors(i)) for i in range(2)}
    assert len(said) == 1, run.text()
    ((sentence,),) = said
    return sentence


def data(file: Path, seed: int) -> Path:
    """A file of 64 random images."""
    draw = np.random.default_rng(seed)
    images, labels = draw.integers(0, 256, (64, 8, 8, 1), np.uint8), draw.integers(0, 4, 64)
    np.savez(file, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    return file


def test_another_configuration(tmp_path: Path) -> None:
    said = both_say(tmp_path, [], ["--optim.learning-rate=0.7"])
    assert said == "error: process 1 differs from process 0 in optim.learning_rate: it has 0.7, and process 0 has 0.05."


def test_another_version_of_the_code(tmp_path: Path) -> None:
    """Without git, process 1 knows the package's version alone."""
    said = both_say(tmp_path, [], [], changed={"PATH": ""})
    assert said.startswith("error: process 1 differs from process 0 in the code's version: ")


def on_two_machines(first: Path, second: Path) -> list[str]:
    """The sentences of two processes in folders of their own that each read the data.npz there; both are refused."""
    port = free_port()
    shared = [*NET, "--parallel.devices=2", "--data.source=npz", "--data.path=data.npz", "--train.batch-size=32"]
    runs = [start(folder, [[*shared, *by_hand(2, i, port)]]) for i, folder in enumerate((first, second))]
    sentences = []
    for run in runs:
        assert run.wait(300.0) == [2], run.text()
        sentences += run.errors(0)
    assert len(sentences) == 2
    return sentences


def test_other_data_under_the_same_name(tmp_path: Path) -> None:
    data(tmp_path / "data.npz", 0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    data(elsewhere / "data.npz", 1)
    for said in on_two_machines(tmp_path, elsewhere):
        assert "process 1 differs from process 0 in the data: " in said


def test_data_on_one_machine_only(tmp_path: Path) -> None:
    data(tmp_path / "data.npz", 0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for said in on_two_machines(tmp_path, elsewhere):
        assert said.startswith("error: process 1: ")
        assert "data.npz" in said
    assert not (tmp_path / "runs").exists()


def test_fewer_devices_in_one_process(tmp_path: Path) -> None:
    flag = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    said = both_say(tmp_path, [], [], devices=4, changed=flag)
    assert said.startswith("error: process 1: parallel.devices: got 4; legal: 2 to 2, ")


def test_a_batch_that_the_devices_do_not_share(tmp_path: Path) -> None:
    """Each process finds it by itself, before it looks for the others."""
    options = ["--train.batch-size=100"]
    assert "train.batch_size: got 100" in both_say(tmp_path, options, options, devices=8)


def test_a_folder_that_process_0_cannot_write(tmp_path: Path) -> None:
    """A file in the place of a folder refuses everybody, the superuser too."""
    (tmp_path / "file").touch()
    said = both_say(tmp_path, [f"--runs={tmp_path}/file/runs"], [f"--runs={tmp_path}/runs"])
    assert said.startswith(f"error: process 0: runs: {tmp_path}/file is a file; legal: ")
    assert not (tmp_path / "runs").exists()


def test_a_port_in_use_and_a_process_that_does_not_come(tmp_path: Path) -> None:
    common = [*NET, "--parallel.devices=2", "--parallel.start-seconds=3"]
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        run = start(tmp_path / "port", [[*common, *by_hand(2, 0, port)]])
        assert run.wait(120.0) == [2]
    assert f"port {port} of this machine cannot be used" in run.errors(0)[0]
    port = free_port()
    run = start(tmp_path / "alone", [[*common, *by_hand(2, 0, port)]])
    assert run.wait(120.0) == [2]
    assert f"process 1 of 2 did not connect to localhost:{port} within 3 s" in run.errors(0)[0]
    run = start(tmp_path / "other", [[*common, *by_hand(2, 1, port)]])
    assert run.wait(120.0) == [2]
    assert f"process 0 cannot be reached at localhost:{port}" in run.errors(0)[0]
