"""Train the same net in every parallel mode and on one device under jit, and compare the parameters.

python -m experiments.equivalence

All modes and numbers of devices compute the same function, but they add numbers in different orders. In float64 the
differences are as small as rounding errors. In float32 they grow from step to step: if a sum rounds to the other side
of zero, a ReLU switches, and each layer amplifies the change. The table shows the differences in both dtypes.

The scope of batch norm is the set of images that share statistics. For the scope `device` on D devices, the reference
on one device uses the scope `ghost` with groups of 1/D of the batch.

Cost: 108 short runs of nets with 20 layers; about half an hour on 2 CPU cores, mostly compilation.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import cli, machine
from experiments.options import parse
from experiments.printed import Printed
from experiments.studies import experiments
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.files import write_json

NETS, DTYPES = ("digits-plain", "digits-resnet"), ("float64", "float32")
SCOPES, MODES = ("global", "device", "ghost"), ("jit", "shard_map", "pmap")


@dataclass(frozen=True)
class Equivalence:
    """Train nets in each parallel mode, on each number of devices, with each scope of batch norm, and compare."""

    devices: tuple[int, ...] = (1, 2, 8)
    """Numbers of devices for each mode; on a CPU they are virtual devices."""
    steps: tuple[int, ...] = (1, 5, 10)
    """Numbers of train steps after which parameters are compared, in rising order."""
    depth: int = 20
    """Number of layers of the plain and of the residual net."""
    ghost_size: int = 16
    """Number of images that share batch-norm statistics in the scope "ghost"."""
    out: Path | None = None
    """JSON file for the numbers."""


def main(argv: list[str] | None = None) -> int:
    """Compares the modes and prints the table; returns the exit status."""
    chosen = parse(Equivalence, argv, program="python -m experiments.equivalence", description=__doc__)
    machine.virtual_devices(max(chosen.devices))
    os.environ["JAX_ENABLE_X64"] = "1"
    rows = [row for net in NETS for dtype in DTYPES for scope in SCOPES for row in compare(net, dtype, scope, chosen)]
    _show(rows, chosen)
    if chosen.out is not None:
        values = {"steps": chosen.steps, "rows": rows}
        write_json(chosen.out, values)
    return cli.OK


def compare(net: str, dtype: str, scope: str, chosen: Equivalence) -> list[dict[str, Any]]:
    """Trains a net in each mode on each number of devices; returns a row of the table for each."""
    scoped: dict[str, Any] = {"model.norm.scope": scope}
    if scope == "ghost":
        scoped["model.norm.ghost_size"] = chosen.ghost_size
    base = override(experiments()[net], {"model.depth": chosen.depth, "model.dtype": dtype, **scoped})
    references: dict[str, list[Any]] = {}
    rows = []
    for devices in chosen.devices:
        for mode in MODES:
            several = {"parallel.mode": mode, "parallel.devices": devices}
            config = override(base, several)
            # The reference computes the same function on one device.
            groups = {"model.norm.scope": "ghost", "model.norm.ghost_size": config.norm_batch}
            key = f"groups of {config.norm_batch}"
            if key not in references:
                references[key] = parameters_after(override(base, groups), chosen.steps)
            print(f"{net} {dtype} {scope} {mode} {devices}", file=sys.stderr)
            pairs = zip(parameters_after(config, chosen.steps), references[key], strict=True)
            drift = [largest_difference(*pair) for pair in pairs]
            kind = f"{base.model.net}-{chosen.depth}"
            rows.append({"net": kind, "dtype": dtype, "scope": scope, "devices": devices, "mode": mode, "drift": drift})
    return rows


def parameters_after(config: ExperimentConfig, steps: tuple[int, ...]) -> list[Any]:
    """Trains a net; returns its parameters, on the host, after each number of steps in `steps` (in rising order)."""
    from resnet_jax.training.program import prepare

    program = prepare(config)
    state = program.put(program.assembly.initial)
    kept = []
    for step in range(steps[-1]):
        state, _ = program.train(state, range(step, step + 1))
        if step + 1 in steps:
            kept.append(program.fetch(state).params)
    return kept


def largest_difference(a: Any, b: Any) -> float:
    """The largest relative difference of two trees: the maximum over all leaves of max |a - b| / max |b|."""
    import jax
    import numpy as np

    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in leaves)


def _show(rows: list[dict[str, Any]], chosen: Equivalence) -> None:
    headings = ("net", "dtype", "BN scope", "devices", "mode", *(f"step {step}" for step in chosen.steps))
    cells = []
    for row in rows:
        where = (row["net"], row["dtype"], row["scope"], str(row["devices"]), row["mode"])
        cells.append((*where, *(f"{drift:.0e}" for drift in row["drift"])))
    title = "Largest relative difference of parameters to one device under jit"
    Console().print(Printed(title, headings, cells, words=5).rich())


if __name__ == "__main__":
    cli.run_main(main)
