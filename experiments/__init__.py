"""The command-line programs, and the studies that they run. The package `resnet_jax` does not import this package.

Importing this package installs handlers, so that Ctrl-C during further imports does not print a traceback.
"""

import os
import signal
import sys
from typing import Any


def _end(number: int, frame: Any) -> None:
    """Handles a signal: ends the process at once with status 130."""
    os.write(2, b"interrupted.\n")
    os._exit(130)


if sys.argv[0] == "-m":  # the value for `python -m experiments.train` until the module of the command runs
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)
# machine.tune_malloc blocks these signals before it restarts the process.
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
