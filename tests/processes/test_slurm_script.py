"""The script of docs/several-machines.md with stand-ins for Slurm: the time is up, and the job starts again."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_jax.record import RECORD_FILE
from tests.processes.faults import begun
from tests.processes.launch import NET, ROOT, environment, free_port

# Starts two tasks, as Slurm does; where the time is up, all of them get SIGTERM after the first checkpoint. Its own
# status is the highest of theirs.
SRUN = """#!{python}
import os, pathlib, signal, subprocess, sys, time
names = {{"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost"}}
tasks = [
    subprocess.Popen(sys.argv[1:], env={{**os.environ, **names, "SLURM_PROCID": str(i)}}) for i in range(2)
]
if "TIME_IS_UP" in os.environ:
    while not pathlib.Path("run/checkpoints/5").exists() and all(t.poll() is None for t in tasks):
        time.sleep(0.01)
    for task in tasks:
        task.send_signal(signal.SIGTERM)
sys.exit(max(task.wait() for task in tasks))
"""


def script() -> str:
    """The page's script with its end, for a small net on this machine."""
    page = (ROOT / "docs" / "several-machines.md").read_text()
    whole, end = re.findall(r"```bash\n(#!/bin/bash\n.*?|status=.*?)```", page, re.DOTALL)
    text: str = whole + end
    for there, here in (
        ("cifar10-resnet --model.depth=110", " ".join(NET)),
        ("--parallel.devices=16", "--parallel.devices=2"),
        ("--runs /shared/runs", "--directory=run"),
    ):
        assert there in text
        text = text.replace(there, here)
    return text


@pytest.mark.slow
def test_a_job_whose_time_is_up_is_queued_again_and_goes_on(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (
        ("srun", SRUN.format(python=sys.executable)),
        ("scontrol", '#!/bin/bash\necho "$@" >> queued\n'),
        ("python", f'#!/bin/bash\nexec {sys.executable} "$@"\n'),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "job.sh").write_text(script())
    job = str(free_port())

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        variables = environment(SLURM_JOB_ID=job, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}", **more)
        return subprocess.run(
            ["bash", "job.sh"], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=600
        )

    stopped = run(TIME_IS_UP="1")
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stderr.count("interrupted at step") == 2, stopped.stderr
    assert (tmp_path / "queued").read_text() == f"requeue {job}\n"
    again = run()
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "run" / RECORD_FILE).exists()
    assert begun(tmp_path) == 2
    assert (tmp_path / "queued").read_text().count("\n") == 1
