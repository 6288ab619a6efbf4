"""A process's place among those of a run, as launchers and users say it."""

from collections.abc import Mapping
from typing import Any

import pytest

from resnet_jax.config import ParallelConfig
from resnet_jax.errors import UserError
from resnet_jax.training.launchers import hint, launch

SLURM = {
    "SLURM_JOB_ID": "1000",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_STEP_NODELIST": "node[001-004]",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}


def place(environment: Mapping[str, str], **fields: Any) -> tuple[str, int, int]:
    found = launch(ParallelConfig(devices=fields.pop("devices", 4), **fields), environment)
    assert found is not None
    return found.coordinator, found.processes, found.process


def test_one_process_joins_nobody_whoever_started_it() -> None:
    for environment in ({}, SLURM, OPEN_MPI):
        assert launch(ParallelConfig(), environment) is None


def test_by_hand() -> None:
    given = {"processes": 2, "coordinator": "a:1234", "process": 1}
    assert place({}, **given) == ("a:1234", 2, 1)
    # A user who says all of it may run inside a job of more tasks.
    assert place(SLURM, **given) == ("a:1234", 2, 1)


@pytest.mark.parametrize("processes", [4, "auto"])
def test_slurm(processes: Any) -> None:
    # 31 * 1000 + 2 = 31002, and 31002 modulo 4000 ports is 3002.
    assert place(SLURM, processes=processes) == ("node001:64002", 4, 3)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"),
        ("node7,node9", "node7"),
        ("node[007,009-012],other", "node007"),
        ("gpu[3-4]-ib", "gpu3-ib"),
    ],
)
def test_the_first_host_of_slurms_list_is_the_coordinators(nodes: str, first: str) -> None:
    coordinator, _, _ = place({**SLURM, "SLURM_STEP_NODELIST": nodes}, processes=4)
    assert coordinator.startswith(f"{first}:")


def test_a_batch_script_outside_of_srun_is_no_task() -> None:
    environment = {name: value for name, value in SLURM.items() if "STEP" not in name}
    with pytest.raises(UserError, match=r"parallel\.processes: got 'auto'"):
        place(environment, processes="auto")


def test_open_mpi() -> None:
    # 1531576320 modulo 4000 is 320.
    assert place(OPEN_MPI, processes="auto") == ("10.96.0.1:61320", 2, 1)


def test_tpu_pods_and_kubernetes() -> None:
    pod = {"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2", "TPU_WORKER_ID": "1"}
    assert place(pod, processes="auto") == ("10.0.0.1:61000", 2, 1)
    assert place({"JOB_COMPLETION_INDEX": "3"}, processes=4, coordinator="train-0.net:9000") == (
        "train-0.net:9000",
        4,
        3,
    )


def test_a_launcher_that_started_one_task_is_one_process() -> None:
    environment = {**SLURM, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
    assert launch(ParallelConfig(processes="auto", devices=8), environment) is None


@pytest.mark.parametrize(
    ("environment", "fields", "field"),
    [
        (SLURM, {"processes": 2}, r"parallel\.processes: got 2, but Slurm started 4"),
        ({}, {"processes": 2, "coordinator": "a:1"}, r"parallel\.process: got None"),
        ({}, {"processes": 2, "process": 1}, r"parallel\.coordinator: got None"),
        ({}, {"processes": 2, "coordinator": "a:1", "process": 2}, r"parallel\.process: got 2; legal: 0 to 1"),
        (SLURM, {"processes": "auto", "devices": 6}, r"parallel\.devices: got 6.*multiple of 4"),
        ({"JOB_COMPLETION_INDEX": "0"}, {"processes": "auto"}, r"parallel\.processes: got 'auto'"),
    ],
)
def test_what_does_not_fit_is_named(environment: Mapping[str, str], fields: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError, match=field):
        place(environment, **fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"processes": 2}, r"parallel\.devices: got 1; legal: a multiple of parallel\.processes=2"),
        ({"processes": 0}, r"parallel\.processes: got 0"),
        ({"processes": 2, "devices": 2, "mode": "pmap"}, r"parallel\.mode: got 'pmap'; legal: 'jit' or 'shard_map'"),
        ({"stall_seconds": 0.0}, r"parallel\.stall_seconds: got 0"),
        ({"processes": 2, "devices": 2, "process": -1}, r"parallel\.process: got -1"),
    ],
)
def test_a_configuration_that_no_launcher_can_mend_is_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError, match=field):
        ParallelConfig(**fields)


def test_the_hint_for_tasks_that_each_run_alone() -> None:
    assert "Slurm started 4 processes" in hint(SLURM)
    assert hint({}) == hint({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) == ""
