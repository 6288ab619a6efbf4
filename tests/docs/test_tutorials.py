"""The commands and scripts of README and of the site's pages run as written, in order, a fresh folder for each page.

A fence of `sh` is run; one with a title that is no file is left out, since it needs what a test must not have (another
virtual environment, files of the reader's). A fence of `python` is written to the file in its title, or run if it has
none. Comments above a fence shorten it: `<!-- test: + WORDS -->` adds words to each command, `<!-- test: A -> B -->`
replaces A by B. The files that README calls the reader's own are made by the test.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from resnet_jax.config import ModelConfig
from resnet_jax.weights.export import state_dict
from tests.weights.factory import random_weights
from tests.weights.torch_files import saved

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / name for name in ("index.md", "getting-started.md", "runs.md")),
    *sorted((ROOT / "docs/tutorials").glob("*")),
]
SHORT = re.compile(r"^<!-- test: (?P<how>[^\n]+) -->\n", re.MULTILINE)
FENCE = re.compile(
    rf"(?P<short>(?:{SHORT.pattern})*)".replace("?P<how>", "")
    + r'^```(?P<language>sh|python)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


class Fence(NamedTuple):
    """A piece of a page that is run or written."""

    language: str
    title: str
    text: str


def fences(page: str) -> list[Fence]:
    """The fences of a page, shortened as it says."""
    return [Fence(m["language"], m["title"] or "", shortened(m["text"], m["short"])) for m in FENCE.finditer(page)]


def shortened(text: str, comments: str) -> str:
    """A fence's text with what the comments above it add or replace."""
    for how in SHORT.findall(comments):
        if how.startswith("+ "):
            text = "".join(f"{line}{how[1:]}\n" for line in text.splitlines())
            continue
        old, new = how.split(" -> ")
        assert old in text, f"{old!r} does not occur in {text!r}"
        text = text.replace(old, new)
    return text


def own_files(folder: Path) -> None:
    """Makes what README calls the reader's: class folders, a picture, a state dict in torchvision's names."""
    random = np.random.default_rng(0)

    def picture(path: Path, size: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(path)

    for part, count in (("train", 8), ("test", 4)):
        for name in ("cats", "dogs"):
            for i in range(count):
                picture(folder / "PICTURES" / part / name / f"{i}.jpg", 32)
    picture(folder / "cat.jpg", 256)
    net = random_weights(ModelConfig(family="imagenet", depth=18, shortcut="B", num_classes=1000))
    _, state, _ = state_dict(net)
    (folder / "resnet18.pth").write_bytes(saved(state))


def installed(venv: Path) -> None:
    """Makes a virtual environment that `make` takes for installed: the Python of this test under another path."""
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    for stamp in (".main", ".test"):
        (venv / stamp).touch()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs_as_written(page: Path, tmp_path: Path) -> None:
    # As a checkout: the studies lie beside the reader's own files.
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments", ignore=shutil.ignore_patterns("records", "*.pyc"))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    if page.name == "README.md":
        own_files(tmp_path)
        installed(tmp_path / ".venv")
    ran = 0
    for fence in fences(page.read_text(encoding="utf-8")):
        is_file = fence.title.endswith(".py")
        if fence.language == "python" and is_file:
            (tmp_path / fence.title).write_text(fence.text, encoding="utf-8")
            continue
        if fence.title:
            continue
        command = ["sh", "-e", "-c", fence.text] if fence.language == "sh" else [sys.executable, "-c", fence.text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{fence.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        ran += 1
    assert ran > 0


def test_what_shortens_a_fence_is_applied() -> None:
    script = '<!-- test: x -> y -->\n<!-- test: 1 -> 2 -->\n```python title="f.py"\nx = 1\n```\n'
    page = f"<!-- test: + --b -->\n```sh\na\nc\n```\n\n{script}"
    assert fences(page) == [Fence("sh", "", "a --b\nc --b\n"), Fence("python", "f.py", "y = 2\n")]
    with pytest.raises(AssertionError, match="does not occur"):
        shortened("a", "<!-- test: b -> c -->\n")
