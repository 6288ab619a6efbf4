"""How far do parallel modes drift apart? Parameters after a few steps, against one device under jit.

python -m experiments.equivalence

Every mode computes the same mathematics in another order of additions. In float64 the difference stays at rounding;
in float32 it grows from step to step, by the net and its depth: a sum that rounds to the other side of zero flips a
ReLU, and each layer amplifies what that changes. Both are tabulated, so that nobody has to believe a tolerance.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from experiments import cli
from experiments.configs import experiments
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.record import write_atomically


@dataclass(frozen=True)
class Equivalence:
    """Trains each net in each mode and compares."""

    devices: int = 8
    """Devices of the compared modes; on a CPU they are virtual."""
    steps: tuple[int, ...] = (1, 5, 10)
    """Steps after which to compare."""
    depth: int = 20
    """Of the plain and the residual net."""
    out: Path | None = None
    """JSON file for the numbers."""


def main(argv: list[str] | None = None) -> int:
    """Parses, compares, prints the table; returns the exit status."""
    chosen = tyro.cli(Equivalence, args=argv, prog="python -m experiments.equivalence", description=__doc__)
    # Before JAX is imported: it reads the flag once.
    flag = f"--xla_force_host_platform_device_count={chosen.devices}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    os.environ["JAX_ENABLE_X64"] = "1"
    rows = []
    for net in ("digits-plain", "digits-resnet"):
        for dtype in ("float64", "float32"):
            changes = {"model.depth": chosen.depth, "model.dtype": dtype}
            base = override(experiments()[net], changes)
            reference = parameters_after(base, chosen.steps)
            for mode in ("jit", "shard_map", "pmap"):
                config = override(base, {"parallel.mode": mode, "parallel.devices": chosen.devices})
                print(f"{net} {dtype} {mode}", file=sys.stderr)
                drift = [
                    largest_difference(*pair)
                    for pair in zip(parameters_after(config, chosen.steps), reference, strict=True)
                ]
                rows.append({"net": f"{base.model.net}-{chosen.depth}", "dtype": dtype, "mode": mode, "drift": drift})
    _show(rows, chosen)
    if chosen.out is not None:
        write_atomically(
            chosen.out, json.dumps({"devices": chosen.devices, "steps": chosen.steps, "rows": rows}, indent=1) + "\n"
        )
    return cli.OK


def parameters_after(config: ExperimentConfig, steps: tuple[int, ...]) -> list[Any]:
    """The net's parameters, on the host, after each of some numbers of steps (rising) of a run of `config`."""
    from resnet_jax.data.batches import training_batches
    from resnet_jax.training.setup import prepare

    setup = prepare(config)
    state = setup.devices.replicate_state(setup.initial)
    batches = training_batches(
        seed=config.seed, examples=len(setup.dataset.train), batch_size=config.train.batch_size, first_step=0
    )
    kept = []
    for step in range(1, steps[-1] + 1):
        state, _ = setup.train(state, next(batches))
        if step in steps:
            kept.append(setup.devices.fetch(state).params)
    return kept


def largest_difference(a: Any, b: Any) -> float:
    """Over the leaves of two trees, the largest of max |a - b| / max |b|."""
    import jax
    import numpy as np

    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in leaves)


def _show(rows: list[dict[str, Any]], chosen: Equivalence) -> None:
    table = Table(title=f"Largest relative difference of parameters, {chosen.devices} devices against one, global BN")
    for heading in ("net", "dtype", "mode", *(f"step {s}" for s in chosen.steps)):
        table.add_column(heading, justify="right" if heading.startswith("step") else "left")
    for row in rows:
        table.add_row(row["net"], row["dtype"], row["mode"], *(f"{d:.0e}" for d in row["drift"]))
    Console().print(table)


if __name__ == "__main__":
    cli.run_main(main)
