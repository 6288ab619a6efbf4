"""Commands and configurations: what is run, with what settings. The package `resnet_jax` knows nothing of them.

A command that is interrupted while it still imports modules ends in one sentence, as it does later.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def _end(number: int, frame: Any) -> None:
    """Ends the process at once: an exception raised in the middle of an import would be a traceback."""
    os.write(2, b"interrupted.\n")
    os._exit(130)


if sys.argv[0] == "-m":  # as `python -m experiments.train` has it until the command's own module runs
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)
    # A process that started itself anew, as machine.tune_malloc does, has kept them waiting.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
