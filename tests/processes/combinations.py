"""Every combination of processes, devices, mode, scope and placement, against one process."""

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.processes.launch import environment, free_port, start

MODES, SCOPES, PLACEMENTS, DEVICES = ("jit", "shard_map"), ("global", "device", "ghost"), ("device", "host"), (1, 2)
Changes = Mapping[str, Any]
STEPS = 10
# Compiling takes most of the time; without the costly passes it takes half as long. All processes have this flag.
CHEAP = "--xla_backend_optimization_level=0"


def combinations(processes: int) -> dict[str, dict[str, Any]]:
    """The runs over so many processes, by name: mode, scope, placement and devices of the whole run."""
    found = {}
    for mode, scope, placement, each in itertools.product(MODES, SCOPES, PLACEMENTS, DEVICES):
        devices = each * processes
        found[f"{mode}-{scope}-{placement}-{devices}"] = {
            "parallel.mode": mode,
            "parallel.devices": devices,
            "model.norm.scope": scope,
            "data.placement": placement,
            **({"model.norm.ghost_size": 4} if scope == "ghost" else {}),
        }
    return found


def reference_of(name: str) -> str:
    """The run of one process, under jit, that a combination is compared with."""
    return "jit-" + name.partition("-")[2]


def run_all(runs: Mapping[str, Changes], processes: int, out: Path, seconds: float = 1500.0) -> None:
    """Does the runs, one after another, in so many processes; each leaves `<name>-<process>.npz` in the folder."""
    out.mkdir(parents=True, exist_ok=True)
    listed = out / "runs.json"
    listed.write_text(json.dumps(runs))
    port = free_port()
    words = [str(out), str(listed), str(processes)]
    places = [[f"localhost:{port}", str(i)] if processes > 1 else [] for i in range(processes)]
    most = max(changes["parallel.devices"] for changes in runs.values()) // processes
    flags = f"--xla_force_host_platform_device_count={most} {CHEAP}"
    started = start(
        out,
        [[*words, *place] for place in places],
        [environment(XLA_FLAGS=flags)] * processes,
        module="tests.processes.worker",
    )
    statuses = started.wait(seconds)
    assert statuses == [0] * processes, started.text()


def compare(one: Path, several: Path, processes: int) -> dict[str, Any]:
    """How far a combination is from one process.

    Args:
      one: files of the run of one process, without their end.
      several: the same for the run of several.
      processes: how many.

    Returns:
      parameters: the largest difference of a parameter after the last step; losses: the largest relative difference of
      a step's loss or of the test loss, which are the losses of a metrics line; counts: whether each step's errors, the
      test errors and the numbers of examples are equal; images: whether the hashes of the images of all steps are;
      evaluated: the examples that the evaluation counted.
    """
    reference = dict(np.load(f"{one}-0.npz"))
    parts = [dict(np.load(f"{several}-{i}.npz")) for i in range(processes)]
    leaves = [name for name in reference if name.startswith("leaf")]
    for part in parts[1:]:
        for name in [*leaves, "counts", "losses"]:
            assert np.array_equal(part[name], parts[0][name]), f"{several}: processes differ in {name}"
    images = np.concatenate([part["images"] for part in parts], axis=1)  # [K, B, H, W, C]
    equal = hashlib.sha256(images.tobytes()).digest() == hashlib.sha256(reference["images"].tobytes()).digest()
    counts, losses = ((parts[0][name], reference[name]) for name in ("counts", "losses"))
    return {
        "parameters": max(float(np.abs(parts[0][n].astype(float) - reference[n].astype(float)).max()) for n in leaves),
        "losses": float(np.abs(losses[0] / losses[1] - 1.0).max()),
        "counts": "equal" if np.array_equal(*counts) else "different",
        "images": "equal" if equal else "different",
        "evaluated": int(counts[0][-1]),
    }
