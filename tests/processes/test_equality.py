"""Runs over processes against the same runs in one process: a covering set. `python -m tests.processes` does them all.

| what              | values                                                          |
|-------------------|-----------------------------------------------------------------|
| processes         | 2                                                               |
| devices of each   | 1 and 2                                                         |
| mode              | jit and shard_map                                               |
| batch norm        | global, device and ghost                                        |
| images            | on the devices and on the host                                  |
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.combinations import combinations, compare, reference_of, run_all

# Every value of every column, and each pair of mode and scope or mode and placement at least once.
COVERING = [
    "jit-global-host-2",
    "jit-device-device-4",
    "jit-ghost-device-2",
    "shard_map-global-device-4",
    "shard_map-device-host-2",
    "shard_map-ghost-host-4",
]


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    chosen = {name: changes for name, changes in combinations(2).items() if name in COVERING}
    assert len(chosen) == len(COVERING)
    references = {reference_of(name): chosen[name] | {"parallel.mode": "jit"} for name in chosen}
    run_all(references, 1, tmp_path / "one")
    run_all(chosen, 2, tmp_path / "two")
    for name in chosen:
        row = compare(tmp_path / "one" / reference_of(name), tmp_path / "two" / name, 2)
        # Rounding of float64, 1e-16, grown by ten steps; a batch that is not that of one process differs by 1e-2.
        assert row["parameters"] < 1e-13, name
        assert row["losses"] < 1e-13, name
        assert row["images"] == row["counts"] == "equal", name
        assert row["evaluated"] == 360, name
