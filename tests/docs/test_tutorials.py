"""The commands and scripts of the site's pages run as written, in order, in one fresh folder for each page.

A fence of `sh` is run; one with a title that is no file is left out, since it needs what a test must not have (another
virtual environment, files of the reader's). A fence of `python` is written to the file in its title, or run if it has
none. A comment above a fence shortens it: `<!-- test: + WORDS -->` adds words to each command, `<!-- test: A -> B -->`
replaces A by B.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "index.md", ROOT / "docs" / "getting-started.md", *sorted((ROOT / "docs/tutorials").glob("*"))]
FENCE = re.compile(
    r"(?:^<!-- test: (?P<short>[^\n]+) -->\n)?"
    r'^```(?P<language>sh|python)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
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


def shortened(text: str, how: str | None) -> str:
    """A fence's text with what the comment above it adds or replaces."""
    if how is None:
        return text
    if how.startswith("+ "):
        return "".join(f"{line}{how[1:]}\n" for line in text.splitlines())
    old, new = how.split(" -> ")
    assert old in text, f"{old!r} does not occur in {text!r}"
    return text.replace(old, new)


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
    page = '<!-- test: + --b -->\n```sh\na\nc\n```\n\n<!-- test: x -> y -->\n```python title="f.py"\nx = 1\n```\n'
    assert fences(page) == [Fence("sh", "", "a --b\nc --b\n"), Fence("python", "f.py", "y = 1\n")]
    with pytest.raises(AssertionError, match="does not occur"):
        shortened("a", "b -> c")
