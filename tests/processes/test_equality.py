"""Runs over processes against the same runs in one process: a covering set. `python -m tests.processes` does them all.

| what              | values                                                          |
|-------------------|-----------------------------------------------------------------|
| processes         | 2 and 4                                                         |
| devices of each   | 1 and 2                                                         |
| mode              | jit and shard_map                                               |
| batch norm        | global, device and ghost                                        |
| images            | on the devices and on the host                                  |
"""

import dataclasses
import itertools
from pathlib import Path

import pytest

from tests.data import pictures
from tests.processes.combinations import (
    DEVICES,
    MODES,
    PLACEMENTS,
    SCOPES,
    combinations,
    compare,
    reference_of,
    run_all,
)

# By processes: mode, batch norm, images, and devices of the whole run.
COVERING = {
    2: [
        "jit-global-host-2",
        "jit-device-device-4",
        "jit-ghost-device-2",
        "shard_map-global-device-4",
        "shard_map-device-host-2",
        "shard_map-ghost-host-4",
    ],
    4: ["jit-ghost-host-8", "shard_map-device-device-4"],
}


def test_the_set_covers_every_value_and_the_modes_with_every_scope_and_placement() -> None:
    rows = [
        (processes, *name.split("-")[:3], int(name.split("-")[3]) // processes)
        for processes, names in COVERING.items()
        for name in names
    ]
    assert [set(column) for column in zip(*rows, strict=True)] == [
        {2, 4},
        set(MODES),
        set(SCOPES),
        set(PLACEMENTS),
        set(DEVICES),
    ]
    for processes, names in COVERING.items():
        assert set(names) <= combinations(processes).keys()
    assert {(mode, scope) for _, mode, scope, _, _ in rows} == set(itertools.product(MODES, SCOPES))
    assert {(mode, where) for _, mode, _, where, _ in rows} == set(itertools.product(MODES, PLACEMENTS))
    assert {(count, mode) for count, mode, _, _, _ in rows} == set(itertools.product((2, 4), MODES))
    assert {(count, each) for count, _, _, _, each in rows} == set(itertools.product((2, 4), DEVICES))


@pytest.mark.slow
def test_processes_compute_what_one_does(tmp_path: Path) -> None:
    chosen = {count: {name: combinations(count)[name] for name in names} for count, names in COVERING.items()}
    references = {
        reference_of(name): changes | {"parallel.mode": "jit"}
        for runs in chosen.values()
        for name, changes in runs.items()
    }
    run_all(references, 1, tmp_path / "one")
    for count, runs in chosen.items():
        run_all(runs, count, tmp_path / str(count))
        for name in runs:
            row = compare(tmp_path / "one" / reference_of(name), tmp_path / str(count) / name, count)
            # Rounding of float64, 1e-16, grown by ten steps; a batch that is not that of one process differs by 1e-2.
            assert row["parameters"] < 1e-13, name
            assert row["losses"] < 1e-13, name
            assert row["images"] == row["counts"] == "equal", name
            assert row["evaluated"] == 360, name


@pytest.mark.slow
def test_each_process_decodes_its_rows_of_streamed_images(tmp_path: Path) -> None:
    """Random crops, mirrors and colours of photographs on disk; 15 test images, which 2 x 2 devices do not share."""
    root = pictures.write(tmp_path / "photos", train=24, test=5)
    changes = dataclasses.asdict(pictures.streamed(root, color_noise=0.1))
    streamed = {f"data.{name}": value for name, value in changes.items()} | {"data.pad": 0, "train.batch_size": 16}
    runs = {"streamed": streamed | {"parallel.devices": 4}}
    run_all(runs, 1, tmp_path / "one")
    run_all(runs, 2, tmp_path / "two")
    row = compare(tmp_path / "one" / "streamed", tmp_path / "two" / "streamed", 2)
    assert row["parameters"] < 1e-13
    assert row["losses"] < 1e-13
    assert row["images"] == row["counts"] == "equal"
    assert row["evaluated"] == 15
