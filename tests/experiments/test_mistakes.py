"""Each mistake of docs/mistakes.md: one sentence on standard error, with a way on, and status 2."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import cli, documents, passages
from experiments.passages.mistakes import MISTAKES, answers, statuses

COMMANDS = [command for commands in MISTAKES.values() for command in commands]
# What says that a sentence goes on: it names what is legal, what was meant, or what to do.
WAYS_ON = ("legal: ", "did you mean", "python -m experiments.", "missing", "delete", "holds ", "write it", "needed: ")
WAYS_ON = (
    *WAYS_ON,
    "there is no such file or folder",
    "neither ",
    "not safetensors, and not ",
    "use --",
    "leave it at",
)


def test_there_are_forty() -> None:
    assert len(set(COMMANDS)) == len(COMMANDS) == 40


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_is_one_sentence_with_a_way_on(command: str) -> None:
    answer = answers()[command]
    assert answer.status == cli.BAD_INPUT
    assert answer.stdout == ""
    assert re.fullmatch(r"error: [^\n]+\n", answer.stderr), answer.stderr
    assert not re.search(r"Traceback|Error parsing|--{2,}|[│─]|\w+Error\b", answer.stderr)
    assert any(way in answer.stderr for way in WAYS_ON), answer.stderr


def test_the_page_has_these_sentences() -> None:
    page = Path(__file__).parents[2] / "docs" / "mistakes.md"
    stale = list(passages.stale(page.read_text(encoding="utf-8"), page.name))
    assert not stale, "\n".join([*stale, f"to renew them: {documents.RENEW}"])


def test_every_status_is_listed() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| ([^|]+) \|$", statuses(), re.MULTILINE)
    constants = {name: value for name, value in vars(cli).items() if type(value) is int}
    assert {name: int(number) for number, name, _ in rows} == constants
    assert all(text.endswith(".") for _, _, text in rows)


@pytest.mark.slow
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "experiments.train", "digits-resnet", f"--runs={tmp_path / 'runs'}"]
    environment = {**os.environ, "JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == cli.BAD_INPUT
    assert re.fullmatch(r"error: JAX has no device to compute on \(JAX_PLATFORMS is cuda\)[^\n]+\n", done.stderr)
    assert "AssertionError" not in done.stderr
    assert "set JAX_PLATFORMS=cpu" in done.stderr
    assert not (tmp_path / "runs").exists()
