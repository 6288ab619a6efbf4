"""What the targets of the Makefile would run."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def recipe(*words: str, folder: Path) -> str:
    """The commands of a target, none of which is run."""
    command = ["make", "--dry-run", "--no-print-directory", f"VENV={folder}/venv", f"RUNS={folder}/runs", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return " ".join(done.stdout.replace("\\\n", " ").split())


@pytest.mark.parametrize("data", ["", "cifar10.npz"])
def test_reproduce_cifar10_takes_a_file_and_then_prepares_nothing(tmp_path: Path, data: str) -> None:
    words = ["reproduce-cifar10", "OPTIONS=--seeds 0"] + ([f"DATA={data}"] if data else [])
    text = recipe(*words, folder=tmp_path)
    assert ("experiments.prepare cifar10" in text, "'.[prepare]'" in text) == (not data, not data)
    options = f" --data.source=npz --data.path='{data}'" if data else ""
    sweep = f"experiments.sweep cifar10-depth --runs {tmp_path}/runs{options} --seeds 0"
    assert sweep in text
    assert text.endswith(f"experiments.report {tmp_path}/runs/cifar10-depth")


def test_degradation_names_the_report_s_command_once(tmp_path: Path) -> None:
    """The sweep ends by naming the command that follows it, so that make does not repeat it."""
    lines = (ROOT / "Makefile").read_text().split("degradation: ")[1].splitlines()
    sweep, report = lines[1:3]
    assert "experiments.sweep digits-depth" in sweep
    assert report.lstrip().startswith("@")
    assert "experiments.report $(RUNS)/digits-depth" in report
