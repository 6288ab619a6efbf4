"""A fault of each kind, and starts that cannot work: all processes end in seconds, and the run can go on.

Apart from the other tests, since they take minutes: `make fault-test` does these, and thirty random faults.
"""

from __future__ import annotations

import random
import socket
import stat
import time
from pathlib import Path

import pytest

from tests.processes.faults import assert_same_to_the_bit, finish, harm
from tests.processes.launch import NET, by_hand, environment, free_port, start, train


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over two processes that nothing disturbs."""
    folder: Path = tmp_path_factory.mktemp("whole")
    finish(folder, 2)
    return folder


def test_after_a_fault_of_each_kind_the_run_ends_as_one_undisturbed(whole: Path, tmp_path: Path) -> None:
    draw = random.Random(24)
    for kind, victim in (("SIGTERM", 1), ("kill -9", 1), ("exception", 0)):
        harm(tmp_path, 2, kind, victim, delay=0.0, draw=draw)
    finish(tmp_path, 2)
    assert_same_to_the_bit(tmp_path, whole)


def test_a_process_that_stands_still_ends_the_run(tmp_path: Path) -> None:
    sentence = harm(tmp_path, 2, "SIGSTOP", 1, delay=0.0, draw=random.Random(0))
    assert "error: process 1 has not" in sentence or sentence == ""


def test_only_process_0_writes(tmp_path: Path) -> None:
    """The others have a runs folder that nobody may write, and no run directory of their own."""
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    port = free_port()
    shared = [*NET, "--parallel.devices=2", "--train.iterations=10", "--optim.milestones", "5"]
    places = [tmp_path / "open" / "run", closed / "run"]
    options = [
        [*shared, f"--directory={place}", f"--runs={place.parent}", *by_hand(2, i, port)]
        for i, place in enumerate(places)
    ]
    run = start(tmp_path / "out", options)
    assert run.wait(300.0) == [0, 0], run.text()
    assert (tmp_path / "open" / "run" / "record.json").exists()
    assert not list(closed.iterdir())


def ends(run_folder: Path, options: list[list[str]], *, within: float = 60.0) -> tuple[list[int], list[list[str]]]:
    began = time.monotonic()
    run = start(run_folder, options)
    statuses = run.wait(within)
    assert time.monotonic() - began < within
    return statuses, [run.errors(i) for i in range(len(options))]


def test_processes_that_differ_end_before_any_step(tmp_path: Path) -> None:
    port = free_port()
    common = [*NET, "--parallel.devices=2", f"--directory={tmp_path / 'run'}"]
    options = [[*common, *by_hand(2, 0, port)], [*common, *by_hand(2, 1, port), "--optim.learning-rate=0.7"]]
    statuses, errors = ends(tmp_path, options)
    assert statuses == [2, 2]
    for said in errors:
        assert said == ["error: process 1 differs from process 0 in optim.learning_rate: 0.7 there, 0.05 here."]
    assert not (tmp_path / "run").exists()


def test_data_on_one_machine_only_are_named(tmp_path: Path) -> None:
    import numpy as np

    file, port = tmp_path / "data.npz", free_port()
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (64, 8, 8, 1), np.uint8), draw.integers(0, 4, 64)
    np.savez(file, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    common = [*NET, "--parallel.devices=2", "--data.source=npz", "--train.batch-size=32"]
    options = [
        [*common, f"--data.path={name}", f"--directory={tmp_path / 'run'}", *by_hand(2, i, port)]
        for i, name in enumerate(("data.npz", "data.npz"))
    ]
    here, there = tmp_path, tmp_path / "other"
    there.mkdir()
    run = start(here, [options[0]])
    other = start(there, [options[1]])
    assert run.wait(60.0) == other.wait(60.0) == [2], run.text() + other.text()
    for said in (run.errors(0), other.errors(0)):
        assert len(said) == 1
        assert "process 1" in said[0]
        assert "data.npz" in said[0]


def test_a_port_in_use_and_a_process_that_does_not_come(tmp_path: Path) -> None:
    common = [*NET, "--parallel.devices=2", f"--directory={tmp_path / 'run'}", "--parallel.start-seconds=3"]
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        statuses, errors = ends(tmp_path / "port", [[*common, *by_hand(2, 0, port)]])
    assert statuses == [2]
    assert f"port {port} of this machine cannot be used" in errors[0][0]
    statuses, errors = ends(tmp_path / "alone", [[*common, *by_hand(2, 0, free_port())]])
    assert statuses == [2]
    assert "process 1 of 2 did not come within 3 s" in errors[0][0]


def test_all_devices_of_one_slurm_task_are_used_and_two_tasks_share_a_run(tmp_path: Path) -> None:
    slurm = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost"}
    common = [*NET, "--train.iterations=2", "--optim.milestones", "1", "--parallel.processes=auto"]
    tasks = [environment(**slurm, SLURM_STEP_NUM_TASKS="2", SLURM_PROCID=str(i)) for i in range(2)]
    two = start(tmp_path / "two", [[*common, "--parallel.devices=2", f"--directory={tmp_path / 'run2'}"]] * 2, tasks)
    assert two.wait(300.0) == [0, 0], two.text()
    assert "2, started by Slurm" in two.text(0)
    alone = environment(**slurm, SLURM_STEP_NUM_TASKS="1", SLURM_PROCID="0")
    one = start(tmp_path / "one", [[*common, "--parallel.devices=8", f"--directory={tmp_path / 'run8'}"]], [alone])
    assert one.wait(300.0) == [0], one.text()
    assert "devices      8, jit" in one.text()


def test_a_full_disk_of_process_0_ends_all(tmp_path: Path) -> None:
    """As far as the system tells: files of process 0 may not grow, so that its first checkpoint fails."""
    run = train(tmp_path, 2, module="tests.processes.no_space")
    assert run.wait(300.0) == [2, 2], run.text()
    for i in range(2):
        (said,) = run.errors(i)
        assert said.startswith("error: process 0: ")
        assert "could not be written" in said
