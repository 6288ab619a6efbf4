"""Every combination once, as a record: python -m tests.processes OUT.json [FOLDER]

FOLDER keeps what each run left; a command that was interrupted goes on from there. About 96 short runs, most of it
compilation.
"""

import datetime
import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet_jax.files import write_atomically
from resnet_jax.training.environment import LIBRARIES, code_version, processor
from tests.processes.combinations import CHEAP, STEPS, combinations, compare, reference_of, run_all

COUNTS = (1, 2, 4)
# Runs that the same processes do one after another. What was interrupted is done again.
TOGETHER = 8
SECONDS = 4 * 3600.0


def main() -> None:
    """Runs all, and writes how far each is from one process."""
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(temporary)
        rows = compare_all(folder)
    worst = {name: max(row[name] for row in rows) for name in ("parameters", "losses")}
    record = {
        "command": "python -m tests.processes",
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "code": code_version(),
        "device": processor(),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "xla_flags": CHEAP,
        "steps": STEPS,
        "worst": worst,
        "runs": rows,
    }
    write_atomically(out, json.dumps(record, indent=1) + "\n")
    print(f"{len(rows)} combinations; largest difference of a parameter after {STEPS} steps: {worst['parameters']:.1e}")


def compare_all(folder: Path) -> list[dict[str, Any]]:
    """A row for each combination; `folder` keeps the runs' files."""
    rows = []
    listed = {processes: combinations(processes) for processes in COUNTS}
    references: dict[str, Mapping[str, Any]] = {}
    for runs in listed.values():
        references |= {reference_of(name): changes | {"parallel.mode": "jit"} for name, changes in runs.items()}
    run_missing(references, 1, folder / "one")
    for processes, runs in listed.items():
        place = folder / str(processes)
        run_missing(runs, processes, place)
        for name, changes in runs.items():
            found = compare(folder / "one" / reference_of(name), place / name, processes)
            what = {
                "processes": processes,
                "devices": changes["parallel.devices"],
                "mode": changes["parallel.mode"],
                "scope": changes["model.norm.scope"],
                "placement": changes["data.placement"],
            }
            rows.append({**what, **found})
            print(rows[-1], flush=True)
    return rows


def run_missing(runs: Mapping[str, Mapping[str, Any]], processes: int, place: Path) -> None:
    """Does the runs whose files are not there, some at a time."""
    names = [n for n in runs if not all((place / f"{n}-{i}.npz").exists() for i in range(processes))]
    for start in range(0, len(names), TOGETHER):
        run_all({name: runs[name] for name in names[start : start + TOGETHER]}, processes, place, SECONDS)


if __name__ == "__main__":
    main()
