"""The tables of docs/mistakes.md: what commands print after a new user's typical mistakes, and the exit statuses.

Each command with a mistake is run in this process, in a temporary folder.
"""

import ast
import contextlib
import functools
import importlib
import inspect
import io
import itertools
import json
import os
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from experiments import cli, machine
from experiments.passages.records import RECORDS
from experiments.studies import experiments
from resnet_jax.config import override, to_dict

DEVICES = 8
"""Number of CPU devices that JAX sees when the table is made and tested."""
ERROR = "error: "

# Groups of commands, as the words after "python -m experiments."; `_scene` makes the files that they name.
MISTAKES = {
    "Names": (
        "train",
        "train digits-resnett",
        "train digits-depth",
        "sweep digits-resnet",
        "analyze lesion runs/finished",
    ),
    "Options": (
        "train digits-resnet --model.depht=56",
        "train digits-resnet --lr=0.1",
        "train digits-resnet --epochs=20",
        "train digits-resnet 56",
        "report --output=figures runs/finished",
    ),
    "Values": (
        "train digits-resnet --model.depth",
        "train digits-resnet --model.depth=deep",
        "train digits-resnet --model.depth=57",
        "train digits-resnet --model.shortcut=D",
        "train digits-resnet --optim.learning-rate=0,1",
        "train digits-resnet --optim.learning-rate=-0.1",
        "train digits-resnet --optim.milestones=120,180",
        "train digits-resnet --optim.milestones 180 120",
        "train digits-resnet --optim.schedule=cosine --optim.milestones 120 180",
        "train digits-resnet --train.iterations=0",
        "sweep digits-depth --seed=1",
        "sweep digits-depth --budget=1h",
    ),
    "Devices": (
        "train digits-resnet --train.batch-size=127 --parallel.devices=2",
        "train digits-resnet --train.batch-size=400 --parallel.devices=40",
    ),
    "Data and weights": (
        "train cifar10-resnet --data.path=nowhere",
        "train digits-resnet --data.source=npz --data.path=notes.txt",
        "train folder-resnet --data.path=empty",
        "convert broken.safetensors net",
        "classify --weights=nowhere cat.jpg",
    ),
    "Run directories": (
        "train digits-plain --directory=runs/other",
        "train digits-plain --directory=runs/half-written",
        "train digits-plain --runs=notes.txt",
        "train digits-resnet --profile=notes.txt",
        "report empty",
        "recompute runs/finished",
        "recompute runs/damaged",
    ),
    "Ablations": (
        "ablate digits-resnet",
        "ablate digits-resnet cutt=stage2",
        "ablate digits-resnet cut=stage9",
        "ablate digits-resnet shortcut=A",
    ),
}


@dataclass(frozen=True)
class Answer:
    """The exit status and the output of a command."""

    status: str | int | None
    stdout: str
    stderr: str


def mistakes() -> str:
    """A table of mistakes: the command, its exit status, and the message after "error:"."""
    found = answers()
    lines = ["| python -m experiments. | status | error: |", "| --- | ---: | --- |"]
    for group, commands in MISTAKES.items():
        lines.append(f"| **{group}** | | |")
        for command in commands:
            sentence = found[command].stderr.strip().removeprefix(ERROR)
            lines.append(f"| {_code(command)} | {found[command].status} | {_code(sentence)} |")
    return "\n".join(lines)


def statuses() -> str:
    """A table of exit statuses, from the constants in experiments/cli.py and the texts below them."""
    lines = ["| status | name | when |", "| ---: | --- | --- |"]
    body = ast.parse(inspect.getsource(cli)).body
    for node, text in itertools.pairwise(body):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, int):
            assert isinstance(text, ast.Expr)
            assert isinstance(text.value, ast.Constant)
            (name,) = node.targets
            lines.append(f"| {node.value.value} | `{ast.unparse(name)}` | {' '.join(str(text.value.value).split())} |")
    return "\n".join(lines)


@functools.cache
def answers() -> dict[str, Answer]:
    """Runs every command in `MISTAKES`, and returns the answers by command.

    If JAX has started before, it must see `DEVICES` CPU devices.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        _scene(folder)
        before = _visible(folder)
        found = {command: _run(command, folder) for commands in MISTAKES.values() for command in commands}
        assert _visible(folder) == before, "a mistake made or removed files"
        return found


def _run(command: str, folder: Path) -> Answer:
    """Runs a command in this process, as `python -m` does."""
    name, *words = shlex.split(command)
    module = importlib.import_module(f"experiments.{name}")
    output, errors = io.StringIO(), io.StringIO()
    # Commands restart their process to change malloc, unless the environment already has this variable.
    environment = {"COLUMNS": "200", machine.MALLOC: os.environ.get(machine.MALLOC, "")}
    with (
        contextlib.chdir(folder),
        mock.patch.object(machine, "use_compilation_cache"),  # the cache would stay on after the folder is deleted
        mock.patch.object(sys, "argv", [str(module.__file__), *words]),
        mock.patch.dict(os.environ, environment),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            cli.run_main(module.main)
        except SystemExit as end:
            status = end.code
    here = f"{folder}{os.sep}"
    return Answer(status, output.getvalue().replace(here, ""), errors.getvalue().replace(here, ""))


def _visible(folder: Path) -> list[Path]:  # without the locks of run directories
    return sorted(path for path in folder.rglob("*") if not path.name.startswith("."))


def _scene(folder: Path) -> None:
    """Makes the files that the commands name."""
    plain = experiments()["digits-plain"]
    for name, config in (("other", override(plain, {"model.depth": 32})), ("half-written", plain)):
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "config.json").write_text(json.dumps(to_dict(config)), encoding="utf-8")
    (folder / "runs" / "half-written" / "record.json").write_text('{"study": "dig', encoding="utf-8")
    for name in ("finished", "damaged"):
        shutil.copytree(RECORDS / "digits-depth" / "resnet-20-seed0", folder / "runs" / name)
    checkpoint = folder / "runs" / "damaged" / "checkpoints" / "240"
    checkpoint.mkdir(parents=True)
    for name in ("arrays", "manifest"):
        (checkpoint / name).write_bytes(b"half of a file")
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("milk, eggs\n", encoding="utf-8")
    (folder / "broken.safetensors").write_bytes(b"half of a file")


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"
