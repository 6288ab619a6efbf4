"""One process of several that each do the same list of short runs, and keep what the tests compare.

python -m tests.processes.worker OUT LIST PROCESSES [COORDINATOR PROCESS]

LIST is a JSON file: the names of runs, each with its changes to `digits-resnet` by dotted name.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments import cli, machine
from experiments.studies import experiments
from resnet_jax.config import override
from tests.processes.combinations import STEPS

BASE: Mapping[str, Any] = {
    "model.depth": 8,
    "model.width": 4,
    "model.dtype": "float64",
    "train.batch_size": 64,
    "train.iterations": STEPS,
    "optim.milestones": (6,),
    "data.pad": 1,
    "data.flip": True,
}


def main() -> None:
    """Joins the others, does the runs, ends with them."""
    out, listed, count, *place = sys.argv[1:]
    runs = json.loads(Path(listed).read_text())
    shared: dict[str, Any] = {**BASE, "parallel.processes": int(count)}
    if place:
        shared |= {"parallel.coordinator": place[0], "parallel.process": int(place[1])}
    configs = {name: override(experiments()["digits-resnet"], {**shared, **changes}) for name, changes in runs.items()}
    machine.virtual_devices(max(config.parallel.devices for config in configs.values()) // int(count))
    first = next(iter(configs.values()))
    machine.join(first)
    from resnet_jax.training import processes
    from resnet_jax.training.program import prepare

    for name, config in configs.items():
        program = prepare(config)
        images = [_images(program, step) for step in range(STEPS)]
        state, losses, counts = program.put(program.assembly.initial), [], []
        for step in range(STEPS):
            state, report = program.train(state, range(step, step + 1))
            sums = program.reports(report, 1)[0].sums
            losses.append(float(sums.loss))
            counts += [round(float(sums.errors)), round(float(sums.examples))]
        host, totals = program.fetch(state), program.evaluate(state, "test")
        import jax

        leaves = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(host))}
        losses, counts = [*losses, totals.loss], [*counts, totals.errors, totals.examples]
        file = Path(out) / f"{name}-{processes.index()}.npz"
        unfinished = file.with_suffix(".unfinished.npz")
        np.savez(unfinished, images=np.stack(images), losses=losses, counts=counts, **leaves)
        unfinished.rename(file)


def _images(program: Any, step: int) -> Any:
    """The images that this process sends for a step, or those that its indices choose on the devices: [b, H, W, C]."""
    (batch,) = program._batches(range(step, step + 1))
    sent = program._feed.train(batch)
    if hasattr(sent, "images"):
        return np.asarray(sent.images)
    (resident,) = program._feed.fixed
    return np.asarray(resident.images.addressable_shards[0].data)[np.asarray(sent.example)]


if __name__ == "__main__":
    cli.run_main(main)
