"""Random faults, to random processes, at random moments of runs over two and four processes.

`make fault-test` does thirty, about half an hour on two cores; apart from the other tests for that reason. After each
fault all processes end within 15 s, each with one sentence that names the cause. A run that was disturbed often ends
on its own layout as the undisturbed run to the bit, and on one, two or four processes within ten times what jit and
shard_map drift apart over the same steps.
"""

import datetime
import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from resnet_jax.files import write_atomically
from resnet_jax.record import RECORD_FILE
from resnet_jax.training.environment import code_version, processor
from tests.processes.faults import (
    END,
    KINDS,
    PATIENCE,
    STALL,
    Moment,
    assert_same_to_the_bit,
    begun,
    drift,
    finish,
    harm,
    newest,
)
from tests.processes.launch import ITERATIONS, train

# Faults that a run suffers before it is left to end.
EACH = 5


def draw_moment(draw: random.Random) -> Moment:
    """A moment: while processes prepare themselves, while they train, or around the end."""
    event = draw.choices(("joined", "trains", "ends"), (0.25, 0.6, 0.15))[0]
    if event == "trains":
        return Moment("trains", draw.uniform(0.0, 0.5), draw.randrange(3))
    return Moment("joined", draw.uniform(0.0, 4.0)) if event == "joined" else Moment("ends", draw.uniform(0.0, 1.0))


def write_record(file: Path, tolerance: float, done: list[dict[str, Any]], ended: list[dict[str, Any]]) -> None:
    """Writes what was done and seen so far."""
    record = {
        "command": "make fault-test",
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "code": code_version(),
        "device": processor(),
        "cpu_cores": len(os.sched_getaffinity(0)),
        "steps": ITERATIONS,
        "ended_within_s": END,
        "stall_seconds": STALL,
        "tolerance": tolerance,
        "faults": done,
        "runs": ended,
    }
    write_atomically(file, json.dumps(record, indent=1) + "\n")


def test_random_faults(tmp_path: Path, faults: int, faults_record: Path | None) -> None:
    draw, done, ended = random.Random(812), list[dict[str, Any]](), list[dict[str, Any]]()
    whole = {processes: tmp_path / f"whole{processes}" for processes in (2, 4)}
    for processes, folder in whole.items():
        finish(folder, processes)
    other_mode = tmp_path / "shard_map"
    run = train(other_mode, 2, "--parallel.mode=shard_map")
    assert run.wait(PATIENCE) == [0, 0], run.text()
    tolerance = 10.0 * drift(other_mode, whole[2])
    number = 0
    while len(done) < faults:
        folder, processes, other = tmp_path / f"run{number}", (2, 4)[number % 2], (1, 2, 4, 1)[number % 4]
        number += 1
        copied: Path | None = None
        while len(done) < faults and begun(folder) < EACH and not (folder / "run" / RECORD_FILE).exists():
            kind, victim, moment = draw.choice(sorted(KINDS)), draw.randrange(processes), draw_moment(draw)
            said = harm(folder, processes, kind, victim, moment).replace(f"{tmp_path}{os.sep}", "")
            what = {"fault": kind, "process": victim, "of": processes, "moment": moment.event}
            print({**what, "said": said, "step": newest(folder)}, flush=True)
            if said:
                done.append({**what, "said": said})
            if copied is None and newest(folder) in range(1, ITERATIONS):
                copied = tmp_path / f"copy{number}"
                shutil.copytree(folder / "run", copied / "run")
        finish(folder, processes)
        assert_same_to_the_bit(folder, whole[processes])
        ended.append({"begun on": processes, "ended on": processes, "sessions": begun(folder), "difference": 0.0})
        if copied is not None:
            finish(copied, other)
            far = drift(copied, whole[processes])
            ended.append({"begun on": processes, "ended on": other, "sessions": begun(copied), "difference": far})
            assert far <= tolerance, ended[-1]
        print(ended, flush=True)
        if faults_record is not None:
            write_record(faults_record, tolerance, done, ended)
    counts = Counter(each["fault"] for each in done)
    print(f"{len(done)} faults {dict(counts)}, {len(ended)} runs; tolerance on other layouts {tolerance:.1e}")
