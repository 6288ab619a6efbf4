"""A fault of each kind: all processes end in seconds, and the run can go on.

Apart from the other tests, since they take minutes: `make fault-test` does these, and thirty random faults.
"""

import signal
import time
from pathlib import Path

import pytest

from tests.processes.faults import END, HANG, STALL, Moment, assert_same_to_the_bit, finish, harm, wait_for
from tests.processes.launch import train


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over two processes that nothing disturbs."""
    folder: Path = tmp_path_factory.mktemp("whole")
    finish(folder, 2)
    return folder


def test_after_a_fault_of_each_kind_the_run_ends_as_one_undisturbed(whole: Path, tmp_path: Path) -> None:
    for kind, victim in (("SIGTERM", 1), ("kill -9", 1), ("exception", 0), ("kill -9", 0)):
        assert harm(tmp_path, 2, kind, victim), f"{kind}: the run had ended before"
    finish(tmp_path, 2)
    assert_same_to_the_bit(tmp_path, whole)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_stands_still_is_named_and_then_ends_the_run(victim: int, tmp_path: Path) -> None:
    assert harm(tmp_path, 2, "SIGSTOP", victim).startswith(f"error: process {victim} has not")
    other = (tmp_path / f"output{1 - victim}.txt").read_text()
    assert f"; the run ends after {STALL:g} s." in other


def test_a_process_that_answers_and_does_no_work_ends_the_run(tmp_path: Path) -> None:
    sentence = harm(tmp_path, 2, HANG, 1)
    assert sentence.startswith("error: process 1 has not moved on for some time at step")


def test_a_run_that_is_suspended_as_a_whole_goes_on(whole: Path, tmp_path: Path) -> None:
    run = train(tmp_path, 2, f"--parallel.stall-seconds={STALL}", module="tests.processes.faulty")
    assert wait_for(run, tmp_path, Moment("trains"), 0, 0)
    for process in run.processes:
        process.send_signal(signal.SIGSTOP)
    time.sleep(STALL + 5.0)
    for process in run.processes:
        process.send_signal(signal.SIGCONT)
    assert run.wait(600.0) == [0, 0], run.text()
    assert_same_to_the_bit(tmp_path, whole)


def test_a_library_that_aborts_because_another_process_is_gone_does_not_hide_the_cause(tmp_path: Path) -> None:
    """The abort comes first, as Gloo's may: in the seconds for which it is delayed the link says who is gone."""
    run = train(tmp_path, 2, f"--parallel.stall-seconds={STALL}", module="tests.processes.faulty", fresh=True)
    assert wait_for(run, tmp_path, Moment("trains"), 0, 0)
    run.processes[0].send_signal(signal.SIGHUP)
    time.sleep(0.5)
    run.processes[1].kill()
    assert run.wait(END) == [1, -signal.SIGKILL], run.text()
    assert run.errors(0) == ["error: process 1 ended without a message; perhaps it was killed"]


def test_a_full_disk_of_process_0_ends_all(tmp_path: Path) -> None:
    """As far as the system tells: files of process 0 may not grow, so that its first checkpoint fails."""
    run = train(tmp_path, 2, module="tests.processes.no_space")
    assert run.wait(600.0) == [2, 2], run.text()
    for i in range(2):
        (said,) = run.errors(i)
        assert said.startswith("error: process 0: ")
        assert "could not be written" in said
