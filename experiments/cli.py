"""Functions of all commands: names on the command line, the display, signals, errors and exit statuses."""

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
"""The command succeeded, or its work was done before."""
FAILED = 1
"""A check failed (gpu_check), a document is out of date (documents --check), or another process of the run failed."""
BAD_INPUT = 2
"""A mistake of the user, or an error of the file system. In a sweep: a run could not be started."""
DIVERGED = 3
"""`train`: the run ended because its loss is not finite. In a sweep this is a result and not an error."""
INTERRUPTED = 130
"""The command was ended by Ctrl-C or SIGTERM."""


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Runs the main function of a command, and exits with its status or one of those above.

    For a mistake (UserError), an error of the file system (OSError: read-only, full, missing) and an interruption, one
    sentence is printed on standard error. Any other exception is a defect of this project and keeps its traceback.
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
            _say(f"error: {error}")
            sys.exit(BAD_INPUT)
        except BrokenPipeError:
            # The reader of our output (`| head`) has left; nothing is wrong. Python would complain at exit otherwise.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(OK)
        except OSError as error:
            _say(f"error: {sentence(error)}.")
            sys.exit(BAD_INPUT)
        except KeyboardInterrupt as stopped:
            _leave(str(stopped) or "interrupted.")
        except Exception:
            if asked:  # a module that was being imported made another exception of it
                _leave("interrupted.")
            raise


@contextlib.contextmanager
def handling(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """A context in which a function handles Ctrl-C and SIGTERM; restores the earlier handlers at the end."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def decide(question: Callable[[], T]) -> T:
    """The answer to a question; with several processes, the answer of process 0."""
    processes = _joined()
    return question() if processes is None else processes.on_primary(question)


def require_alike(facts: Mapping[str, Any]) -> None:
    """Checks that all processes of a command have the same facts, by name, in JSON's types.

    Raises:
      UserError: a process differs from process 0; the message says in what.
    """
    if (processes := _joined()) is not None:
        processes.require_alike(facts)


def is_first() -> bool:
    """Whether this is process 0, or the only process."""
    processes = _joined()
    return processes is None or bool(processes.primary())


def joined() -> bool:
    """Whether this process has joined others."""
    return _joined() is not None


def _joined() -> Any:
    """The module `processes` if this process has joined others, else None. Does not import it."""
    module = sys.modules.get("resnet_jax.training.processes")
    return module if module is not None and module.count() > 1 else None


def _among_processes(main: Callable[[], int | None]) -> int:
    """Runs the main function of a command. If it joined other processes, all end together."""
    try:
        status = main() or OK
        if (processes := _joined()) is not None:
            processes.leave()
    except BaseException as error:
        _end_all(error)
        raise
    return status


def _end_all(error: BaseException) -> None:
    """With several processes, ends all of them. An interruption on which they agreed is not an error."""
    if (processes := _joined()) is None or (isinstance(error, SystemExit) and not error.code):
        return
    from resnet_jax.training.loop import Interrupted

    if isinstance(error, Interrupted):
        processes.leave()
    else:
        processes.fail(error, status_of(error))


def status_of(error: BaseException) -> int:
    """The status of a command that ends with this error."""
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
    """The name at the start of a command line, and the options after it.

    Args:
      argv: words after `python -m experiments.<command>`.
      kind: the kind of the name, for messages.
      legal: the legal names.
      lines: a description of each name, for the list of names.
      elsewhere: another command and its names, for the message if a name belongs to that command.

    Raises:
      UserError: there is no name, or an unknown one; the message gives the nearest, or all.
      SystemExit: `--help` was given instead; usage and names were printed.
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
        raise UserError(f"{kind}: none given; it comes first: {usage}, where {kind.upper()} is one of {names}.")
    if argv[0] in elsewhere[1]:
        raise UserError(f"{kind}: got {argv[0]!r}, which is for python -m experiments.{elsewhere[0]} {argv[0]}.")
    raise UserError(f"{kind}: got {argv[0]!r}; {nearest(argv[0], legal)}")


def check_folder(folder: Path, option: str) -> None:
    """Checks that a folder exists or can be made.

    Raises:
      UserError: the folder, or a folder above it, is a file.
    """
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not there.is_dir() and there.exists():
        raise UserError(f"{option}: {there} is a file; legal: a folder.")


def prepare_output(file: Path, option: str) -> None:
    """Makes the folder of an output file, so that a mistake is found before the work.

    Raises:
      UserError: `file` is a folder.
      OSError: the folder cannot be made or written.
    """
    if file.is_dir():
        raise UserError(f"{option}: {file} is a folder; legal: a file.")
    file.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=file.parent).close()


def display(total: int, title: str) -> Observer:
    """The live display on a terminal, plain lines elsewhere. The caller must close it."""
    from resnet_jax.training.observers.console import Lines, Live

    console = rich.get_console()  # shared with the progress bars of data
    if not console.is_terminal:
        return Lines(console, total)
    live = Live(console, total, title)
    live.start()
    return live


@contextlib.contextmanager
def stop_request() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C or SIGTERM into a request to stop after the current step; another Ctrl-C stops at once.

    Another SIGTERM is ignored, because a sweep passes it on to its processes, which may get it from the user as well.
    Before the first step, the first signal stops at once. Stopping at once ends the process without an exception, which
    could be raised inside a function called by XLA and crash it.
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
        _say("stopping after this step; press Ctrl-C again to stop at once.")

    def stop() -> bool:
        nonlocal stepping
        stepping = True
        return asked

    with handling(ask):
        yield stop


def _leave(sentence: str) -> NoReturn:
    """Ends the process at once. Everything is saved."""
    if rich.get_console().is_terminal:
        rich.get_console().show_cursor()  # which a live display hides
    _say(sentence)
    end_at_once(INTERRUPTED)


def warn(note: str) -> None:
    """Prints a remark on standard error, apart from results."""
    _say(note)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
