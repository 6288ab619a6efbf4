"""How every command ends: in one sentence and a status, never in a traceback for a mistake of the user's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from resnet_jax.errors import UserError

OK, BAD_INPUT, INTERRUPTED = 0, 2, 130


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Runs a command's main function and exits: 0, 2 for the user's mistakes, 130 for Ctrl-C.

    A mistake (UserError) and a file system that refuses (OSError: read-only, full, missing) are told in one
    sentence on standard error. Any other exception is a defect of this project and keeps its traceback.
    """
    try:
        sys.exit(main() or OK)
    except UserError as error:
        _say(f"error: {error}")
        sys.exit(BAD_INPUT)
    except BrokenPipeError:
        # The reader of our output (`| head`) has left; nothing is wrong. Python would complain at exit otherwise.
        sys.stderr.close()
        sys.exit(OK)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"error: {where}{error.strerror or error}.")
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        _say("interrupted.")
        sys.exit(INTERRUPTED)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
