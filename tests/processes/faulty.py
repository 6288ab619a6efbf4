"""experiments.train in a process that raises an exception when it is sent SIGUSR1."""

from __future__ import annotations

import signal
from typing import Any

from experiments import cli, train


def raise_it(number: int, frame: Any) -> None:
    """As a defect would."""
    raise RuntimeError("an injected defect")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, raise_it)
    cli.run_main(train.main)
