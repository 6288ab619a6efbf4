"""The tests of tests/gpu, run by pytest in a separate process, on the device that JAX chooses."""

import contextlib
import importlib.util
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import experiments
from experiments.benchmark.race import SHARED_DEVICE

ROOT = Path(experiments.__file__).parent.parent
FOLDER = ROOT / "tests" / "gpu"
NEEDED = ("pytest", "xdist")
# pytest's words for outcomes, and the words of the record.
STATUSES = {word: word.lower() for word in ("PASSED", "FAILED", "ERROR", "SKIPPED")}
STATUSES |= {"XFAIL": "xfailed", "XPASS": "xpassed"}
PROGRESS = re.compile(rf"^\[gw\d+\] (?:\[ *\d+%\] )?({'|'.join(STATUSES)}) (\S+)")
SUMMARY = re.compile(r"^(?:FAILED|ERROR) (\S+) - (.+)")


@dataclass
class Test:
    name: str
    status: str
    message: str = ""
    """First line of the failure; empty if the test did not fail."""

    @property
    def bad(self) -> bool:
        return self.status in ("failed", "error")


@dataclass
class Results:
    tests: list[Test]
    cut: bool
    """Whether the tests were stopped at the deadline."""
    exit_status: int | None
    output: str


def missing(folder: Path) -> str:
    """A sentence on why the tests cannot run on this machine; empty if they can."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        return f"{' and '.join(absent)} is not installed: pip install -e '.[test]'"
    return "" if folder.is_dir() else f"{folder} does not exist; run this command in a checkout of the source code"


def run(select: str, processes: int, platform: str, folder: Path, deadline: float = math.inf) -> Results:
    """Runs those tests of a folder that have the pytest mark `gpu` and are selected by an expression.

    Args:
      select: expression for pytest's -k.
      processes: number of processes that run tests at the same time.
      platform: "cpu": the tests run on the CPU; "gpu": JAX chooses the device.
      folder: the folder of the tests.
      deadline: a value of time.monotonic(), at which the tests are stopped.
    """
    words = ["-m", "pytest", str(folder), "-m", "gpu", "-k", select, f"--numprocesses={processes}", "--dist=load"]
    words += ["-vv", "-rfE", "-p", "no:cacheprovider"]
    told = {
        # Without this variable, tests/conftest.py chooses the CPU. If it is empty, JAX chooses.
        "JAX_PLATFORMS": "cpu" if platform == "cpu" else os.environ.get("JAX_PLATFORMS", ""),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "COLUMNS": "400",  # pytest cuts lines of the summary at this width
    }
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**SHARED_DEVICE, **os.environ, **told},
            start_new_session=True,
        )
        status: int | None = None
        try:
            left = None if deadline == math.inf else max(deadline - time.monotonic(), 0.0)
            status = process.wait(left)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        text = output.read()
    return Results(read(text), status is None, status, text)


def read(output: str) -> list[Test]:
    """Parses the verbose output of pytest with xdist; returns the tests in the order in which they ended."""
    found: dict[str, Test] = {}
    for line in output.splitlines():
        if match := PROGRESS.match(line):
            name = match[2]
            found[name] = Test(name, STATUSES[match[1]])
        elif (match := SUMMARY.match(line)) and match[1] in found:
            found[match[1]].message = match[2]
    return list(found.values())
