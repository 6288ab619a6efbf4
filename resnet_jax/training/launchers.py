"""Finds the number of this process, the number of all processes and the address of process 0.

The user gives these values by the options `--parallel.process`, `--parallel.processes` and `--parallel.coordinator`,
or a launcher gives them by environment variables:

| launcher      | environment variables                                                            |
|---------------|----------------------------------------------------------------------------------|
| Slurm         | SLURM_STEP_NUM_TASKS, SLURM_PROCID, SLURM_STEP_NODELIST: in every task of `srun` |
| Open MPI 4    | OMPI_COMM_WORLD_SIZE, OMPI_COMM_WORLD_RANK, OMPI_MCA_orte_hnp_uri                |
| TPU pod       | TPU_WORKER_HOSTNAMES, TPU_WORKER_ID                                              |
| Kubernetes    | JOB_COMPLETION_INDEX, in an indexed job; the user must give the other two values |
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from resnet_jax.config import ParallelConfig
from resnet_jax.errors import UserError

# Above the ports that Linux uses for clients.
FIRST_PORT, PORTS = 61_000, 4_000


@dataclass(frozen=True)
class Launch:
    """The number of this process, the number of all processes, and the address of process 0."""

    coordinator: str
    """host:port where process 0 listens."""
    processes: int
    process: int
    by: str
    """The launcher that gave these values, or "hand" for options; used in messages."""


@dataclass(frozen=True)
class _Found:
    by: str
    processes: int | None
    process: int
    coordinator: str | None


def detect(environment: Mapping[str, str]) -> _Found | None:
    """The values that a launcher gave to this process; None if no known launcher started it."""
    get = environment.get
    if "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
        # Two steps of a job may run at the same time, so each has its own port.
        number = 31 * int(get("SLURM_JOB_ID", "0")) + int(get("SLURM_STEP_ID", "0"))
        host = _first_host(get("SLURM_STEP_NODELIST", "localhost"))
        return _Found(
            "Slurm",
            int(environment["SLURM_STEP_NUM_TASKS"]),
            int(environment["SLURM_PROCID"]),
            f"{host}:{_port(number)}",
        )
    if "OMPI_MCA_orte_hnp_uri" in environment and "OMPI_COMM_WORLD_RANK" in environment:
        # An example is 1531576320.0;tcp://10.96.0.1,10.148.0.1:34911: job number, and addresses of mpirun's machine.
        job, _, address = environment["OMPI_MCA_orte_hnp_uri"].partition(";tcp://")
        host = re.split(r"[,:]", address)[0]
        number = int(job.split(".")[0])
        rank, size = int(environment["OMPI_COMM_WORLD_RANK"]), int(environment["OMPI_COMM_WORLD_SIZE"])
        return _Found("Open MPI", size, rank, f"{host}:{_port(number)}")
    if "TPU_WORKER_HOSTNAMES" in environment and "TPU_WORKER_ID" in environment:
        hosts = environment["TPU_WORKER_HOSTNAMES"].split(",")
        return _Found("the TPU pod", len(hosts), int(environment["TPU_WORKER_ID"]), f"{hosts[0]}:{FIRST_PORT}")
    if "JOB_COMPLETION_INDEX" in environment:
        return _Found("Kubernetes", None, int(environment["JOB_COMPLETION_INDEX"]), None)
    return None


def launch(config: ParallelConfig, environment: Mapping[str, str]) -> Launch | None:
    """Finds the number of this process and the address of process 0; None if the run has one process.

    Values in `config` replace a launcher's values.

    Raises:
      UserError: a value is missing: it is neither in `config` nor given by a launcher.
      UserError: the launcher started another number of processes than `config.processes`.
      UserError: `config.process` is not below the number of processes.
      UserError: `config.devices` is not a multiple of the number of processes.
    """
    if config.processes == 1:
        return None
    found = detect(environment)
    count = found.processes if config.processes == "auto" and found else config.processes
    by_hand = "; give --parallel.processes=N --parallel.coordinator=HOST:PORT --parallel.process=I"
    if count in ("auto", None):
        raise UserError(f"parallel.processes: got 'auto', but no launcher gives the number{by_hand}.")
    assert isinstance(count, int)
    if found and found.processes not in (None, count) and config.process is None:
        raise UserError(
            f"parallel.processes: got {count}, but {found.by} started {found.processes}; legal: {found.processes}, or "
            f"'auto'."
        )
    process = config.process if config.process is not None or found is None else found.process
    coordinator = config.coordinator or (found.coordinator if found else None)
    if process is None or coordinator is None:
        missing = "process" if process is None else "coordinator"
        raise UserError(f"parallel.{missing}: got None, and no launcher gives it{by_hand}.")
    if not 0 <= process < count:
        raise UserError(f"parallel.process: got {process}; legal: 0 to {count - 1}, for {count} processes.")
    if config.devices % count:
        raise UserError(
            f"parallel.devices: got {config.devices} for {count} processes; legal: a multiple of {count}, because it "
            f"is the number of devices of the whole run."
        )
    if count == 1:
        return None
    return Launch(coordinator, count, process, found.by if found and config.process is None else "hand")


def hint(environment: Mapping[str, str]) -> str:
    """The advice to use --parallel.processes=auto; empty if no launcher started several processes.

    The advice is added to the message that another process uses the run directory. The user gets this message if a
    launcher starts several processes without this option, because each of them then starts the same run.
    """
    found = detect(environment)
    if found is None or found.processes in (None, 1):
        return ""
    return f" {found.by} started {found.processes} processes: with --parallel.processes=auto they share one run."


def _first_host(nodes: str) -> str:
    """The first host in Slurm's list of hosts: "node[001-004,7]-ib,other" gives "node001-ib"."""
    match = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,\[]*))?", nodes)
    assert match is not None, nodes
    return "".join(part or "" for part in match.groups())


def _port(number: int) -> int:
    return FIRST_PORT + number % PORTS
