"""Ends the process immediately, from any thread.

Python's normal shutdown is skipped, because it can crash while threads of XLA are running. Clean-up functions run
first: for example, the directory of a run that has not begun to train is removed.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import NoReturn

TAKEN_BACK: dict[object, Callable[[], None]] = {}
"""Clean-up functions, by owner. An owner removes its function when it is no longer needed."""


def end_at_once(status: int) -> NoReturn:
    """Calls the clean-up functions (TAKEN_BACK), then ends this process with exit status `status`."""
    for take_back in list(TAKEN_BACK.values()):
        with contextlib.suppress(OSError):
            take_back()
    sys.stdout.flush()
    os._exit(status)
