"""experiments.train in a process that leaves a file once it has joined the others, and that obeys three signals.

At SIGUSR1 it raises an exception; at SIGUSR2 its main thread does nothing more; at SIGHUP another thread aborts it.
"""

import ctypes
import signal
import threading
import time
from pathlib import Path
from typing import Any

from experiments import cli, machine, train
from resnet_jax.config import ExperimentConfig

JOINED = "joined"


def raise_it(number: int, frame: Any) -> None:
    """Fails, as a defect would."""
    raise RuntimeError("an injected defect")


def hang(number: int, frame: Any) -> None:
    """Keeps the main thread from its work, while other threads go on."""
    time.sleep(600.0)


def abort(number: int, frame: Any) -> None:
    """Aborts as a library does that finds itself in a state that cannot be."""
    threading.Thread(target=ctypes.CDLL(None).abort).start()


def main() -> int:
    """Trains."""
    join = machine.join

    def joined(config: ExperimentConfig) -> None:
        join(config)
        Path(f"{JOINED}{config.parallel.process}").touch()

    machine.join = joined
    return train.main()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, raise_it)
    signal.signal(signal.SIGUSR2, hang)
    signal.signal(signal.SIGHUP, abort)
    cli.run_main(main)
