"""A short run in a process of its own, which may kill itself.

python -m tests.gpu.training DIRECTORY [--kill-at DISPATCH] [--cache FOLDER]
"""

import argparse
import itertools
import os
import signal
from pathlib import Path

from experiments import machine
from resnet_jax.config import override
from resnet_jax.training.run import run
from tests.gpu import reference

STEPS, CHECKPOINT_STEPS, STEPS_PER_DISPATCH = 30, 10, 5
CONFIG = override(
    reference.config("float32"),
    {
        "train.iterations": STEPS,
        "train.checkpoint_steps": CHECKPOINT_STEPS,
        "train.steps_per_dispatch": STEPS_PER_DISPATCH,
        "optim.milestones": (20,),
    },
)


def main() -> None:
    """Runs, or goes on with a run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    if chosen.cache is not None:
        machine.use_compilation_cache(chosen.cache)
    asked = itertools.count(1)

    def stop() -> bool:
        """Asked after each dispatch; ends the process as kill -9 does."""
        if next(asked) == chosen.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    run(CONFIG, chosen.directory, study="gpu", stop=stop)


if __name__ == "__main__":
    main()
