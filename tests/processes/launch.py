"""Runs of several processes on this machine, started by hand on loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# A net and a run that take seconds: 12 steps to an epoch, a checkpoint after every fifth.
ITERATIONS, EVERY = 60, 5
NET = (
    "digits-resnet",
    "--model.depth=8",
    "--model.width=4",
    "--model.dtype=float64",
    f"--train.iterations={ITERATIONS}",
    "--optim.milestones",
    "40",
    "50",
    f"--train.checkpoint-steps={EVERY}",
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without the devices of the tests, and with the changes."""
    left_out = ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    found = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**found, "PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu", **changes}


def by_hand(processes: int, process: int, port: int) -> list[str]:
    """The options that say where a process belongs."""
    return [
        f"--parallel.processes={processes}",
        f"--parallel.coordinator=localhost:{port}",
        f"--parallel.process={process}",
    ]


@dataclass
class Run:
    """The processes of a run, and where each prints."""

    processes: list[subprocess.Popen[bytes]]
    outputs: list[Path]

    def wait(self, seconds: float) -> list[int]:
        """The statuses of all; processes that do not end in time are killed, and the test fails."""
        deadline = time.monotonic() + seconds
        try:
            return [process.wait(max(0.01, deadline - time.monotonic())) for process in self.processes]
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.text()}") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends what is left."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def text(self, process: int | None = None) -> str:
        """What one process printed, or all."""
        chosen = self.outputs if process is None else [self.outputs[process]]
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in chosen)

    def own(self, process: int) -> list[str]:
        """The lines of one process that are this project's, and not those that JAX prints of its connections."""
        return [line for line in self.text(process).splitlines() if not line.startswith("[Gloo]")]

    def errors(self, process: int) -> list[str]:
        """The sentences about what ended a process."""
        return [line for line in self.text(process).splitlines() if line.startswith("error: ")]


def start(
    folder: Path,
    options: Sequence[Sequence[str]],
    environments: Sequence[Mapping[str, str]] = (),
    module: str = "experiments.train",
) -> Run:
    """Starts a process for each list of options; they print into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = [folder / f"output{number}.txt" for number in range(len(options))]
    processes = []
    for number, words in enumerate(options):
        with open(outputs[number], "ab") as file:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, *words],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=dict(environments[number]) if environments else environment(),
                    cwd=folder,
                )
            )
    return Run(processes, outputs)


def train(
    folder: Path,
    processes: int,
    *options: str,
    devices: int | None = None,
    module: str = "experiments.train",
    fresh: bool = False,
) -> Run:
    """Starts a run of NET over processes with a device each, into `folder`/run; `fresh`: forgets earlier outputs."""
    for file in folder.glob("output*.txt") if fresh else ():
        file.unlink()
    port = free_port()
    shared = [*NET, f"--directory={folder / 'run'}", f"--runs={folder / 'runs'}"]
    shared += [f"--parallel.devices={devices or processes}", *options]
    each = [[*shared, *(by_hand(processes, number, port) if processes > 1 else [])] for number in range(processes)]
    return start(folder, each, module=module)
