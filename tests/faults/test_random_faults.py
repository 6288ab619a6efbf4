"""Random faults, to random processes, at random moments of runs over two and four processes.

`make fault-test` does thirty, about half an hour on two cores; apart from the other tests for that reason. After each
fault all processes end within 15 s, each with one sentence that names the cause. A run that was disturbed often ends
on its own layout as the undisturbed run to the bit, and on one, two or four processes within ten times what jit and
shard_map drift apart over the same steps.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.processes.faults import KINDS, assert_same_to_the_bit, begun, drift, finish, harm
from tests.processes.launch import train


def test_random_faults(tmp_path: Path, faults: int, capsys: pytest.CaptureFixture[str]) -> None:
    draw, done, sentences = random.Random(812), Counter[str](), Counter[str]()
    whole = {processes: tmp_path / f"whole{processes}" for processes in (2, 4)}
    for processes, folder in whole.items():
        finish(folder, processes)
    other_mode = tmp_path / "shard_map"
    run = train(other_mode, 2, "--parallel.mode=shard_map")
    assert run.wait(600.0) == [0, 0], run.text()
    tolerance = 10.0 * drift(other_mode, whole[2])
    number, finished = 0, 0
    folder, processes = tmp_path / "run0", 2
    while sum(done.values()) < faults:
        kind, victim = draw.choice(sorted(KINDS)), draw.randrange(processes)
        said = harm(folder, processes, kind, victim, draw.uniform(0.0, 3.0), draw)
        if said:
            done[f"{kind} to process {victim} of {processes}"] += 1
            sentences[said.split(" at ")[0]] += 1
        if said and begun(folder) % 4:
            continue
        # Ended before the fault, or disturbed four times: it ends, and so do copies on other layouts.
        copies = {}
        for others in (1, 2, 4):
            if others != processes and said and (folder / "run" / "checkpoints").exists():
                copies[others] = tmp_path / f"copy{number}on{others}"
                shutil.copytree(folder / "run", copies[others] / "run")
        finish(folder, processes)
        assert_same_to_the_bit(folder, whole[processes])
        for others, copied in copies.items():
            finish(copied, others)
            assert drift(copied, whole[processes]) <= tolerance, others
        finished += 1
        number += 1
        folder, processes = tmp_path / f"run{number}", draw.choice((2, 4))
    with capsys.disabled():
        print(f"\n{sum(done.values())} faults, {finished} runs; tolerance on other layouts {tolerance:.1e}")
        print("".join(f"{count:5}  {what}\n" for what, count in sorted(done.items())))
        print("".join(f"{count:5}  {what}\n" for what, count in sorted(sentences.items())))
