"""Help and mistakes of every command come before anything that takes long to import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.__main__ import COMMANDS

ROOT = Path(__file__).parents[2]
# NumPy is for commands that look at files before anything else; what takes a second is for none.
HEAVY = ("jax", "jaxlib", "flax", "optax", "orbax", "matplotlib", "scipy", "sklearn", "torch", "tensorflow")
NAMES = {"train": "digits-resnet", "sweep": "digits-depth", "analyze": "lesions"}
CODE = """
import runpy, sys
sys.argv = {words!r}
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as end:
    status = end.code
heavy = sorted({{name.split(".")[0] for name in sys.modules}} & set({heavy!r}))
print("\\nstatus", status, "heavy", heavy)
"""


# prepare ends its process itself, before this test could look.
@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "prepare"])
def test_help_and_a_typo_import_nothing_heavy(command: str) -> None:
    words = [f"experiments.{command}", *([NAMES[command]] if command in NAMES else [])]
    code = "".join(CODE.format(words=[*words, option], heavy=HEAVY) for option in ("--help", "--no-such-option=1"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLIBC_TUNABLES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False, cwd=ROOT
    )
    ends = [line for line in done.stdout.splitlines() if line.startswith("status ")]
    assert ends == ["status 0 heavy []", "status 2 heavy []"], done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
