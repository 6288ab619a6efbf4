"""Every combination once, as a record: python -m tests.processes OUT.json"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from resnet_jax.files import write_atomically
from tests.processes.combinations import combinations, compare, reference_of, run_all


def main() -> None:
    """Runs all, and writes how far each is from one process."""
    out = Path(sys.argv[1])
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        listed = {processes: combinations(processes) for processes in (1, 2, 4)}
        references = {
            reference_of(name): changes | {"parallel.mode": "jit"}
            for runs in listed.values()
            for name, changes in runs.items()
        }
        run_all(references, 1, place / "one")
        for processes, runs in listed.items():
            run_all(runs, processes, place / str(processes))
            for name in runs:
                row = compare(place / "one" / reference_of(name), place / str(processes) / name, processes)
                rows[f"{processes} processes, {name}"] = row
                print(processes, name, row, flush=True)
    worst = max(row["parameters"] for row in rows.values())
    assert all(row["images"] == "equal" and row["evaluated"] == 360 for row in rows.values())
    write_atomically(out, json.dumps({"largest difference of a parameter": worst, "runs": rows}, indent=1) + "\n")
    print(f"{len(rows)} combinations; largest difference of a parameter after 10 steps: {worst:.1e}")


if __name__ == "__main__":
    main()
