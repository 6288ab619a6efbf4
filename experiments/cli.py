"""Functions that all commands share: exit statuses, errors, signals, the command line and the progress display."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import rich

from resnet_jax.ending import end_at_once
from resnet_jax.errors import UserError
from resnet_jax.text import nearest, sentence

if TYPE_CHECKING:
    from resnet_jax.training.observers.base import Observer

T = TypeVar("T")

OK = 0
"""The command succeeded, or there was nothing left to do."""
FAILED = 1
"""A check failed (gpu_check), a document is out of date (documents --check), or another process of the run failed."""
BAD_INPUT = 2
"""A mistake of the user, or an error of the file system. In a sweep: a run could not be started."""
DIVERGED = 3
"""`train`: the run ended because its loss is not finite. In a sweep this is a result and not an error."""
INTERRUPTED = 130
"""The command was ended by Ctrl-C or SIGTERM."""


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Runs the main function of a command, and exits.

    | end of the main function               | exit status                         | printed on standard error |
    |----------------------------------------|-------------------------------------|---------------------------|
    | it returns                             | the returned status; `OK` for None  | nothing                   |
    | mistake of the user (UserError)        | `BAD_INPUT`                         | one sentence              |
    | error of the file system (OSError)     | `BAD_INPUT`                         | one sentence              |
    | the reader of the output has ended     | `OK`                                | nothing                   |
    | interruption (Ctrl-C or SIGTERM)       | `INTERRUPTED`                       | one sentence              |
    | other exception: a defect of this code | 1                                   | traceback                 |
    """
    asked = False

    def interrupt(number: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    with handling(interrupt):
        try:
            sys.exit(_among_processes(main))
        except UserError as error:
            warn(f"error: {error}")
            sys.exit(BAD_INPUT)
        except BrokenPipeError:
            # The reader of our output, such as `| head`, has ended. Without this, Python would print an error at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(OK)
        except OSError as error:
            warn(f"error: {sentence(error)}.")
            sys.exit(BAD_INPUT)
        except KeyboardInterrupt as stopped:
            _leave(str(stopped) or "interrupted.")
        except Exception:
            if asked:  # an import has turned the interruption into another exception
                _leave("interrupted.")
            raise


@contextlib.contextmanager
def handling(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Context in which `handler` is called on Ctrl-C and SIGTERM; restores the previous handlers at the end."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def decide(question: Callable[[], T]) -> T:
    """Calls `question` and returns its result. With several processes, only process 0 calls it; all get the result."""
    processes = _joined()
    return question() if processes is None else processes.on_primary(question)


def require_alike(facts: Mapping[str, Any]) -> None:
    """Checks that all processes of a command have equal `facts`: {name: value of a JSON type}.

    Raises:
      UserError: a value differs from its value in process 0. The message names the process and both values.
    """
    if (processes := _joined()) is not None:
        processes.require_alike(facts)


def is_first() -> bool:
    """Whether this is process 0, or the only process."""
    processes = _joined()
    return processes is None or bool(processes.primary())


def joined() -> bool:
    """Whether this process is one of several that run the same command together."""
    return _joined() is not None


def _joined() -> Any:
    """The module resnet_jax.training.processes if this process is one of several, else None."""
    module = sys.modules.get("resnet_jax.training.processes")
    return module if module is not None and module.count() > 1 else None


def _among_processes(main: Callable[[], int | None]) -> int:
    """Runs the main function of a command. With several processes, all end together, also after an error."""
    try:
        status = main() or OK
        if (processes := _joined()) is not None:
            processes.leave()
    except BaseException as error:
        _end_all(error)
        raise
    return status


def _end_all(error: BaseException) -> None:
    """Ends all processes of a command after an error in this process. Does nothing if this is the only process.

    `Interrupted` is raised in every process. After this error, the function only waits until all processes have ended.
    """
    if (processes := _joined()) is None or (isinstance(error, SystemExit) and not error.code):
        return
    from resnet_jax.training.loop import Interrupted

    if isinstance(error, Interrupted):
        processes.leave()
    else:
        processes.fail(error, status_of(error))


def status_of(error: BaseException) -> int:
    """The exit status of a command that ends with `error`."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return BAD_INPUT if isinstance(error, UserError | OSError) else FAILED


def first_word(
    argv: list[str],
    command: str,
    kind: str,
    legal: list[str],
    lines: Mapping[str, str] | None = None,
    elsewhere: tuple[str, Iterable[str]] = ("", ()),
) -> tuple[str, list[str]]:
    """Splits a command line into its first word, which must be one of `legal`, and the options after it.

    Args:
      argv: words after `python -m experiments.<command>`.
      command: name of the command, such as "train".
      kind: what the first word names, for messages: "experiment", "study" or "instrument".
      legal: the names that the first word may be.
      lines: a one-line description of each name, for `--help`.
      elsewhere: the name of another command, and the first words that are legal there. For such a word, the error
        message suggests the other command.

    Raises:
      UserError: the first word is missing or not in `legal`; the message suggests a name or lists all names.
      SystemExit: the first word is `--help`; usage and names were printed.
    """
    if argv and argv[0] in legal:
        return argv[0], argv[1:]
    usage = f"python -m experiments.{command} {kind.upper()} [OPTIONS]"
    if argv and argv[0] in ("-h", "--help"):
        width = max(map(len, legal))
        listed = [f"{name:{width}}  {lines[name]}" for name in legal] if lines else legal
        print(f"usage: {usage}\n\n{kind.upper()} is one of\n  " + "\n  ".join(listed))
        print(f"\nOptions: python -m experiments.{command} {legal[0]} --help")
        sys.exit(OK)
    if not argv or argv[0].startswith("-"):
        names = ", ".join(legal)
        raise UserError(f"{kind}: none given; usage: {usage}, where {kind.upper()} is one of {names}.")
    if argv[0] in elsewhere[1]:
        raise UserError(f"{kind}: got {argv[0]!r}; use python -m experiments.{elsewhere[0]} {argv[0]}.")
    raise UserError(f"{kind}: got {argv[0]!r}; {nearest(argv[0], legal)}")


def check_folder(folder: Path, option: str) -> None:
    """Checks that a path is a folder, or that a folder can be made there.

    `option` is the name of the option that gives the path, for messages.

    Raises:
      UserError: there is a file at the path, or at a path above it.
    """
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not there.is_dir() and there.exists():
        raise UserError(f"{option}: {there} is a file; legal: a folder.")


def prepare_output(file: Path, option: str) -> None:
    """Makes the folder of an output file, and checks that files can be written there.

    `option` is the name of the file's option, for messages.

    Raises:
      UserError: `file` is a folder.
      OSError: the folder cannot be made or written.
    """
    if file.is_dir():
        raise UserError(f"{option}: {file} is a folder; legal: a file.")
    file.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=file.parent).close()


def display(total: int, title: str) -> Observer:
    """Makes the progress display of a run of `total` steps. The caller must close it.

    On a terminal the display is updated in place; otherwise it prints lines.
    """
    from resnet_jax.training.observers.console import Lines, Live

    console = rich.get_console()  # shared with the progress bars of data
    if not console.is_terminal:
        return Lines(console, total)
    live = Live(console, total, title)
    live.start()
    return live


@contextlib.contextmanager
def stop_request() -> Iterator[Callable[[], bool]]:
    """Context in which Ctrl-C and SIGTERM stop a run.

    | signal                          | effect                                         |
    |---------------------------------|------------------------------------------------|
    | first signal, before any step   | stops at once                                  |
    | first signal, in a step         | stops after this step                          |
    | second signal, Ctrl-C           | stops at once                                  |
    | second signal, SIGTERM          | is ignored                                     |

    The context value is a function that a run calls before each step; it returns whether to stop. A second SIGTERM is
    ignored, because a process of a sweep may get the same signal from the user and from the sweep.

    To stop at once, a single process ends without an exception, because an exception inside a callback of XLA would
    crash the process. One of several processes raises KeyboardInterrupt, so that the other processes are informed.
    """
    asked = stepping = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked and number == signal.SIGTERM:
            return
        if asked or not stepping:
            asked = True
            if joined():  # the other processes are informed first
                raise KeyboardInterrupt
            _leave("interrupted.")
        asked = True
        warn("stopping after this step; press Ctrl-C again to stop at once.")

    def stop() -> bool:
        nonlocal stepping
        stepping = True
        return asked

    with handling(ask):
        yield stop


def _leave(sentence: str) -> NoReturn:
    """Prints a sentence and ends the process at once."""
    if rich.get_console().is_terminal:
        rich.get_console().show_cursor()  # which a live display hides
    warn(sentence)
    end_at_once(INTERRUPTED)


def warn(note: str) -> None:
    """Prints a line on standard error, because standard output is for results."""
    print(note, file=sys.stderr, flush=True)
