"""Runs that launchers start, by the variables that they set, and what only process 0 does."""

import stat
from pathlib import Path

import pytest

from tests.processes.launch import NET, by_hand, environment, free_port, start

pytestmark = pytest.mark.slow
SHORT = (*NET, "--train.iterations=4", "--optim.milestones", "2", "--parallel.processes=auto")


def test_two_slurm_tasks_share_one_run_and_use_all_eight_devices(tmp_path: Path) -> None:
    slurm = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost"}
    tasks = [environment(**slurm, SLURM_STEP_NUM_TASKS="2", SLURM_PROCID=str(i)) for i in range(2)]
    run = start(tmp_path, [[*SHORT, "--parallel.devices=8", "--directory=run"]] * 2, tasks)
    assert run.wait(600.0) == [0, 0], run.text()
    assert "processes    2, started by Slurm; 64 rows of a batch each" in run.text(0)
    assert "devices      8, jit\n" in run.text(0)
    assert run.own(1) == []
    assert (tmp_path / "run" / "record.json").exists()


def test_one_slurm_task_uses_all_eight_devices(tmp_path: Path) -> None:
    slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost"}
    task = environment(**slurm, SLURM_STEP_NUM_TASKS="1", SLURM_PROCID="0")
    run = start(tmp_path, [[*SHORT, "--parallel.devices=8", "--directory=run"]], [task])
    assert run.wait(600.0) == [0], run.text()
    assert "devices      8, jit\n" in run.text(0)


def test_open_mpi(tmp_path: Path) -> None:
    mpi = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": f"{free_port()}.0;tcp://127.0.0.1:34911"}
    ranks = [environment(**mpi, OMPI_COMM_WORLD_RANK=str(i)) for i in range(2)]
    run = start(tmp_path, [[*SHORT, "--parallel.devices=2", "--directory=run"]] * 2, ranks)
    assert run.wait(600.0) == [0, 0], run.text()
    assert "processes    2, started by Open MPI" in run.text(0)


def test_only_process_0_writes(tmp_path: Path) -> None:
    """Process 1 has a folder that it cannot write: a read-only one and, for the superuser, a file in it."""
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "file").touch()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    port = free_port()
    places = [tmp_path / "open" / "run", closed / "file" / "run"]
    options = [
        [*SHORT, "--parallel.devices=2", f"--directory={place}", f"--runs={place.parent}", *by_hand(2, i, port)]
        for i, place in enumerate(places)
    ]
    run = start(tmp_path / "out", options)
    assert run.wait(600.0) == [0, 0], run.text()
    assert (tmp_path / "open" / "run" / "record.json").exists()
    assert [path.name for path in closed.iterdir()] == ["file"]
    # The same command again, which finds the run finished, is refused nothing either.
    again = start(tmp_path / "again", options)
    assert again.wait(600.0) == [0, 0], again.text()
    assert "nothing was trained" in again.text(0)
