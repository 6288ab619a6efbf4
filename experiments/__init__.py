"""The commands, and the configurations that they run. The package `resnet_jax` does not import them.

A command that is interrupted while it imports modules ends with one sentence, as it does later.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def _end(number: int, frame: Any) -> None:
    """Ends the process at once; an exception during an import would print a traceback."""
    os.write(2, b"interrupted.\n")
    os._exit(130)


if sys.argv[0] == "-m":  # the value for `python -m experiments.train` until the module of the command runs
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)
# A process that has restarted itself, as in machine.tune_malloc, has blocked these signals until now.
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
