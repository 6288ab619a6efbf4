"""Ctrl-C and SIGTERM at any time: one sentence and status 130."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import cli, jobs, machine

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM)


# A minute in short sleeps. A signal that comes after Python has looked for signals and before it calls sleep is handled
# only after that sleep.
WAIT = "[time.sleep(0.05) for _ in range(1200)]"


def interrupted(
    words: list[str], folder: Path, number: signal.Signals, malloc: str | None = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a command with `folder` before all others on the path, and interrupts it once it says "here".

    It starts itself anew where `malloc`, the settings of malloc, is None.
    """
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {name: value for name, value in os.environ.items() if name != machine.MALLOC}
    process = subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONPATH": path, **({} if malloc is None else {machine.MALLOC: malloc})},
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("slow", ["tyro", "jax"])
def test_an_interruption_while_modules_are_imported(slow: str, number: signal.Signals, tmp_path: Path) -> None:
    """The command's own imports, before its main function, and the heavy ones within it."""
    (tmp_path / f"{slow}.py").write_text(f"import time\nprint('here', flush=True)\n{WAIT}\n")
    words = ["-m", "experiments.train", "digits-resnet", f"--runs={tmp_path / 'runs'}"]
    done = interrupted(words, tmp_path, number)
    assert (done.returncode, done.stderr) == (cli.INTERRUPTED, "interrupted.\n")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interruption_before_the_first_step_leaves_no_directory(number: signal.Signals, tmp_path: Path) -> None:
    """While the data are read, when the run's directory is claimed already."""
    (tmp_path / "sklearn.py").write_text(f"import time\nprint('here', flush=True)\n{WAIT}\n")
    words = ["-m", "experiments.train", "digits-resnet", f"--directory={tmp_path / 'new' / 'run'}"]
    done = interrupted(words, tmp_path, number)
    assert done.returncode == cli.INTERRUPTED
    assert done.stderr.endswith("interrupted.\n")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_starts_itself_anew_is_interrupted_as_others_are(number: signal.Signals, tmp_path: Path) -> None:
    """The signal comes between the restart and the first line of the package, and waits for that."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, time\n"
        "if os.environ.get('AGAIN'):\n"
        "    print('here', flush=True)\n"
        "    time.sleep(2)\n"
        "os.environ['AGAIN'] = '1'\n"
    )
    words = ["-m", "experiments.train", "digits-resnet", f"--runs={tmp_path / 'runs'}"]
    done = interrupted(words, tmp_path, number, malloc=None)
    assert (done.returncode, done.stderr) == (cli.INTERRUPTED, "interrupted.\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_an_exception_made_of_an_interruption_is_still_one(number: signal.Signals, tmp_path: Path) -> None:
    code = f"""
import time
from experiments.cli import run_main
def main():
    try:
        print("here", flush=True)
        {WAIT}
    except KeyboardInterrupt:
        raise ImportError("a C extension that was interrupted")
run_main(main)
"""
    done = interrupted(["-c", code], tmp_path, number)
    assert (done.returncode, done.stderr) == (cli.INTERRUPTED, "interrupted.\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_before_the_first_step_the_process_ends_without_an_exception(number: signal.Signals, tmp_path: Path) -> None:
    """An exception raised in a function that XLA has called would crash it."""
    code = f"""
import time
from experiments.cli import stop_request
with stop_request() as stop:
    try:
        print("here", flush=True)
        {WAIT}
    except BaseException:
        print("an exception")
"""
    done = interrupted(["-c", code], tmp_path, number)
    assert (done.returncode, done.stdout, done.stderr) == (cli.INTERRUPTED, "", "interrupted.\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_is_being_started_gets_the_signal_too(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, started = subprocess.Popen, []

    class Popen(real):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            os.kill(os.getpid(), number)  # before `run` can have put it on its list

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with pytest.raises(KeyboardInterrupt):
        jobs.run(["timeit", "-n", "1", "-r", "1", "import time; time.sleep(60)"], [jobs.Share(())] * 2)
    assert len(started) == 1  # none was started after it
    assert started[0].returncode == -signal.SIGTERM
