"""A sweep with a time limit, under a clock that moves only when a run trains."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments import budget, sweep, train
from experiments.budget import DEADLINE, Budget
from experiments.estimate import Clock
from experiments.studies import experiments
from experiments.study import Study, grid
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.errors import UserError
from resnet_jax.record import read_record
from tests.experiments.test_estimate import finish

TINY = override(
    experiments()["digits-plain"],
    {"model.width": 1, "train.iterations": 3, "train.eval_every": 0, "optim.milestones": ()},
)
STUDY = Study("tiny", TINY, grid(model__depth=(8, 14, 20)), seeds=(0,))
NAMES = ["plain-8-seed0", "plain-14-seed0", "plain-20-seed0"]
SECONDS = {8: 10.0, 14: 40.0, 20: 20.0}


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hand:
    hand = Hand()
    monkeypatch.setattr(budget, "monotonic", hand)
    monkeypatch.setattr(train, "monotonic", hand)
    monkeypatch.setattr(sweep, "studies", lambda: {"tiny": (STUDY, "a tiny study")})
    monkeypatch.setattr("experiments.machine.use_compilation_cache", lambda runs: None)
    return hand


def pretend(monkeypatch: pytest.MonkeyPatch, clock: Hand, root: Path) -> list[str]:
    """Runs that take their seconds by the clock and leave a record; the names of those that were begun."""
    begun: list[str] = []

    def run(config: ExperimentConfig, directory: Path, *, deadline: float | None, **rest: Any) -> Any:
        begun.append(directory.name)
        seconds = SECONDS[config.model.depth]
        if deadline is not None and clock.now + seconds > deadline:
            clock.now = deadline
            directory.mkdir(parents=True)
            (directory / "config.json").write_text("{}")
            raise train.OutOfTime("interrupted at step 1 of 3, checkpoint kept.")
        clock.now += seconds
        finish(root, directory.name, seconds, steps_s=seconds, config=config)
        return read_record(directory / "record.json")

    monkeypatch.setattr(sweep, "train", run)
    monkeypatch.setattr(sweep, "print_record", lambda *rest: None)
    return begun


def test_no_run_is_begun_that_would_not_end_in_time(
    clock: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = pretend(monkeypatch, clock, tmp_path)
    # By the work of plain-8, which took 10 s, plain-14 takes about 20 and plain-20 about 30; 14 are left.
    assert sweep.main(["tiny", "--runs", str(tmp_path), "--budget", "24"]) == 0
    assert begun == NAMES[:1]
    text = capsys.readouterr().out
    assert "1 of 3 runs finished." in text
    assert f"Not started, because the time is up: {NAMES[1]}, {NAMES[2]}." in text
    assert "The same command resumes the sweep." in text


def test_where_nothing_is_known_yet_a_run_is_begun_and_cut(
    clock: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = pretend(monkeypatch, clock, tmp_path)
    assert sweep.main(["tiny", "--runs", str(tmp_path), "--budget", "9"]) == 0
    assert begun == NAMES[:1]  # and none after it: the time is up
    text = capsys.readouterr().out
    assert "The time is up: interrupted at step 1 of 3, checkpoint kept." in text
    assert "0 of 3 runs finished." in text


def test_without_a_limit_or_with_enough_time_all_is_run(
    clock: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = pretend(monkeypatch, clock, tmp_path)
    assert sweep.main(["tiny", "--runs", str(tmp_path), "--budget", "1000"]) == 0
    assert begun == NAMES
    assert "Not started" not in capsys.readouterr().out


def test_a_run_that_is_cut_has_its_checkpoint_and_ends_as_one_never_stopped(
    clock: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real loop: the time is up after the second step."""
    real: Callable[..., Any] = train._or_late
    asked: list[bool] = []

    def counted(stop: Callable[[], bool], deadline: float | None) -> Callable[[], bool]:
        late = real(stop, deadline)

        def ask() -> bool:
            asked.append(True)
            clock.now += 30.0
            return late()

        return ask

    monkeypatch.setattr(train, "_or_late", counted)
    only = ["--only", NAMES[0]]
    assert sweep.main(["tiny", "--runs", str(tmp_path / "cut"), "--budget", "50", *only]) == 0
    text = capsys.readouterr().out
    assert "The time is up: interrupted at step 2 of 3, checkpoint kept in" in text
    assert f"Unfinished, with a checkpoint: {NAMES[0]}." in text
    assert [p.name for p in (tmp_path / "cut" / "tiny" / NAMES[0] / "checkpoints").iterdir()] == ["2"]
    assert sweep.main(["tiny", "--runs", str(tmp_path / "cut"), *only]) == 0
    assert sweep.main(["tiny", "--runs", str(tmp_path / "whole"), *only]) == 0
    cut, whole = (read_record(tmp_path / name / "tiny" / NAMES[0] / "record.json") for name in ("cut", "whole"))
    assert cut.cost.sessions == 2
    assert cut.final_fingerprint == whole.final_fingerprint


def test_a_signal_within_the_budget_is_still_an_interruption(
    clock: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Signalled(Hand):
        def __call__(self) -> float:
            os.kill(os.getpid(), signal.SIGTERM)
            return self.now

    monkeypatch.setattr(train, "monotonic", Signalled())
    with pytest.raises(KeyboardInterrupt, match="interrupted at step"):
        sweep.main(["tiny", "--runs", str(tmp_path), "--budget", "50", "--only", NAMES[0]])


@pytest.mark.parametrize("seconds", ["0", "-3", "inf", "nan"])
def test_an_impossible_budget(clock: Hand, tmp_path: Path, seconds: str) -> None:
    with pytest.raises(UserError, match="legal: a number of seconds above 0"):
        sweep.main(["tiny", "--runs", str(tmp_path), f"--budget={seconds}"])
    assert list(tmp_path.iterdir()) == []


def test_processes_share_one_deadline(clock: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr("experiments.jobs.run", lambda words, shares, more: told.append(more) or [0] * len(shares))
    assert sweep.main(["tiny", "--runs", str(tmp_path), "--jobs", "2", "--budget", "60"]) == 0
    assert told == [{DEADLINE: "1060.0"}]
    assert DEADLINE not in os.environ
    # A process that is told one keeps to it, whatever its own clock says when it begins.
    monkeypatch.setenv(DEADLINE, "1060.0")
    clock.now = 1055.0
    found = Budget.of(60.0, Clock(STUDY, tmp_path / "tiny"), inherited=True)
    assert found.deadline == 1060.0
    assert found.allows(NAMES[0], TINY)
    clock.now = 1060.0
    assert not found.allows(NAMES[0], TINY)


def test_two_processes_end_in_time_and_say_what_is_left(tmp_path: Path) -> None:
    """The command itself, with a budget too small for any run: no checkpoint, no run, status 0."""
    root = Path(sweep.__file__).parent.parent
    options = ("--jobs=2", "--budget=0.001", "--only", "plain-8-*")
    done = subprocess.run(
        [sys.executable, "-m", "experiments.sweep", "digits-depth", f"--runs={tmp_path}", *options],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (
        "Not started, because the time is up: plain-8-seed0, plain-8-seed1, plain-8-seed2, plain-8-seed3" in done.stdout
    )
    assert "0 of 5 runs finished." in done.stdout
