"""One train step of a net in float64 on the CPU, in a process of its own: what the device's step is compared with.

    python -m tests.gpu.reference START.npz RESULT.npz

START holds the leaves of a state, which the step starts from; RESULT gets those of the state after it, and the loss.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.studies import experiments
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.training.program import Program, prepare

# Of the CPU alone: half the time, the same arithmetic.
QUICK_COMPILATION = "--xla_backend_optimization_level=0"
ROOT = Path(__file__).parent.parent.parent
CHANGES = {
    "model.depth": 8,
    "data.pad": 0,  # crops would be drawn anew: random numbers in x64 mode are others
    "train.batch_size": 64,
    "train.steps_per_dispatch": 1,
}


def config(dtype: str, mode: str = "jit") -> ExperimentConfig:
    """A small net on digits."""
    return override(experiments()["digits-resnet"], {**CHANGES, "model.dtype": dtype, "parallel.mode": mode})


def step(program: Program, start: Any) -> tuple[Any, float]:
    """The state after one train step from `start`, and the mean loss of its batch, on the host."""
    state, report = program.train(program.put(start), range(1))
    (only,) = program.reports(report, 1)
    return program.fetch(state), float(only.sums.loss) / float(only.sums.examples)


def leaves(state: Any) -> dict[str, Any]:
    """Parameters, batch statistics and momenta by name, as NumPy arrays."""
    kept = {"params": state.params, "batch_stats": state.batch_stats, "opt_state": state.opt_state}
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(kept)}


def in_float64(start: Any, folder: Path) -> tuple[dict[str, Any], float]:
    """Leaves and loss after one step in float64 from a float32 state, computed on the CPU by another process.

    Args:
      start: a state on the host.
      folder: where the two files may lie.
    """
    given, result = folder / "start.npz", folder / "result.npz"
    np.savez(given, **leaves(start))
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "XLA_FLAGS": QUICK_COMPILATION}
    words = [sys.executable, "-m", "tests.gpu.reference", str(given), str(result)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(result) as arrays:
        found = dict(arrays)
    return found, float(found.pop("loss"))


def main(given: str, result: str) -> None:
    """The process."""
    program = prepare(config("float64"))
    initial = program.assembly.initial
    with np.load(given) as arrays:
        start = {name: np.asarray(array) for name, array in arrays.items()}
    names = leaves(initial)
    assert set(names) == set(start)

    def replaced(path: Any, leaf: Any) -> Any:
        return start[jax.tree_util.keystr(path)].astype(np.asarray(leaf).dtype)

    kept = {name: getattr(initial, name) for name in ("params", "batch_stats", "opt_state")}
    state, loss = step(program, initial.replace(**jax.tree_util.tree_map_with_path(replaced, kept)))
    np.savez(result, loss=loss, **leaves(state))


if __name__ == "__main__":
    main(*sys.argv[1:])
