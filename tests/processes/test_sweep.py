"""A study over processes: one run after another over all of them, or a part of its runs for each of several groups."""

from pathlib import Path

import pytest

from resnet_jax.record import RECORD_FILE, STUDY_FILE, read_json, read_record
from tests.processes.launch import Run, by_hand, free_port, start

pytestmark = pytest.mark.slow
# Two runs: plain-8 and resnet-8.
STUDY = (
    "digits-depth",
    *("--only", "*-8-*"),
    "--model.width=4",
    "--train.iterations=4",
    *("--optim.milestones", "2"),
    "--parallel.devices=2",
)


def sweep(folder: Path, options: list[list[str]]) -> Run:
    """Starts a process of the study for each list of options."""
    return start(folder, [[*STUDY, *words] for words in options], module="experiments.sweep")


def test_all_processes_do_one_run_after_another(tmp_path: Path) -> None:
    port = free_port()
    options = [["--seeds", "0", "--runs", f"runs{i}", *by_hand(2, i, port)] for i in range(2)]
    run = sweep(tmp_path, options)
    assert run.wait(900.0) == [0, 0], run.text()
    study = tmp_path / "runs0" / "digits-depth"
    records = [read_record(file) for file in sorted(study.glob(f"*/{RECORD_FILE}"))]
    assert [record.run for record in records] == ["plain-8-seed0", "resnet-8-seed0"]
    assert {session.processes for record in records for session in record.sessions} == {2}
    assert "2 of 2 runs finished" in run.text(0)
    assert run.own(1) == []
    assert not (tmp_path / "runs1").exists()


def test_each_group_of_processes_does_its_part_of_the_runs(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(2)]
    options = [
        ["--seeds", "0", "--runs", "runs", f"--shard={group + 1}/2", *by_hand(2, i, ports[group])]
        for group in range(2)
        for i in range(2)
    ]
    run = sweep(tmp_path, options)
    assert run.wait(900.0) == [0] * 4, run.text()
    assert len(list((tmp_path / "runs" / "digits-depth").glob(f"*/{RECORD_FILE}"))) == 2
    assert read_json(tmp_path / "runs" / "digits-depth" / STUDY_FILE)["runs"]
    assert "1 of 1 runs finished" in run.text(0)
    assert "1 of 1 runs finished" in run.text(2)


def test_processes_with_other_runs_are_told_apart(tmp_path: Path) -> None:
    port = free_port()
    run = sweep(tmp_path, [["--seeds", str(i), "--runs", "runs", *by_hand(2, i, port)] for i in range(2)])
    assert run.wait(300.0) == [2, 2], run.text()
    for i in range(2):
        (said,) = run.errors(i)
        assert "process 1 differs from process 0 in run 1 of the sweep: it has 'plain-8-seed1'" in said
    assert not (tmp_path / "runs").exists()
