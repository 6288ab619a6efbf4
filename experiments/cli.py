"""What all commands share: parsing, the display, signals, and an end in one sentence and a status."""

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
"""The command did what it was asked to, or what it was asked to do had been done before."""
FAILED = 1
"""A check failed, or what it looked at is stale: gpu_check, documents --check."""
BAD_INPUT = 2
"""A mistake of the user's, or a file system that refuses; of a sweep, a run that could not be started."""
DIVERGED = 3
"""`train`: the run ended because its loss is no longer a finite number. Of a sweep that is a result like another."""
INTERRUPTED = 130
"""By Ctrl-C or SIGTERM."""


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Runs a command's main function and exits with its status, or one of those above.

    A mistake (UserError), a file system that refuses (OSError: read-only, full, missing) and an interruption are told
    in one sentence on standard error. Any other exception is a defect of this project and keeps its traceback.
    """
    asked = False

    def interrupt(number: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
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
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def decide(question: Callable[[], T]) -> T:
    """The answer to a question; with several processes that of process 0, whose files and clock count."""
    processes = _joined()
    return question() if processes is None else processes.on_primary(question)


def require_alike(facts: Mapping[str, Any]) -> None:
    """Makes sure that all processes of a command have the same facts, by name, in JSON's types.

    Raises:
      UserError: one differs from process 0; the sentence says in what.
    """
    if (processes := _joined()) is not None:
        processes.require_alike(facts)


def is_first() -> bool:
    """Whether this process is the first of those that share a run, or the only one."""
    processes = _joined()
    return processes is None or bool(processes.primary())


def joined() -> bool:
    """Whether this process has joined others."""
    return _joined() is not None


def _joined() -> Any:
    """The module of processes, where this one has joined others; else None. Imports nothing."""
    module = sys.modules.get("resnet_jax.training.processes")
    return module if module is not None and module.count() > 1 else None


def _among_processes(main: Callable[[], int | None]) -> int:
    """Runs a command's main function; where it joined other processes, ends together with them."""
    try:
        status = main() or OK
        if (processes := _joined()) is not None:
            processes.leave()
    except BaseException as error:
        _end_all(error)
        raise
    return status


def _end_all(error: BaseException) -> None:
    """With several processes, ends all of them; an interruption that they agreed on is a clean end."""
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
    """The name that a command line starts with, and the options after it.

    Args:
      argv: words after `python -m experiments.<command>`.
      kind: what the name is of, for messages.
      legal: the names there are.
      lines: what each is, in a line, where that is worth a list of its own.
      elsewhere: another command, and the names that it takes here, for a message where the two are mixed up.

    Raises:
      UserError: there is no name, or an unknown one; the message gives the nearest, or all.
      SystemExit: `--help` came in its place; usage and names were printed.
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
    """Makes sure that a folder is there or can be made.

    Raises:
      UserError: there is a file of that name, or where a folder above it should be.
    """
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not there.is_dir() and there.exists():
        raise UserError(f"{option}: {there} is a file; legal: a folder.")


def prepare_output(file: Path, option: str) -> None:
    """Makes the folder of a file that a command writes at its end, so that a mistake is found before the work.

    Raises:
      UserError: there is a folder of that name.
      OSError: the folder cannot be made, or not be written to.
    """
    if file.is_dir():
        raise UserError(f"{option}: {file} is a folder; legal: a file.")
    file.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=file.parent).close()


def display(total: int, title: str) -> Observer:
    """The live display on a terminal, plain lines elsewhere; it has to be closed."""
    from resnet_jax.training.observers.console import Lines, Live

    console = rich.get_console()  # the one that loaders draw their bars on
    if not console.is_terminal:
        return Lines(console, total)
    live = Live(console, total, title)
    live.start()
    return live


@contextlib.contextmanager
def stop_request() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C or SIGTERM into a request that a run honours after its step; another Ctrl-C stops at once.

    Another SIGTERM does not: who stops a sweep in several processes may send it to all, and the first passes it on.
    Before the first step there is nothing to keep, so then the first signal stops at once too. "At once" is the end of
    the process: an exception could be raised in a function that XLA has called, and would crash it.
    """
    asked = stepping = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked and number == signal.SIGTERM:
            return
        if asked or not stepping:
            asked = True
            if joined():  # the other processes are told first
                raise KeyboardInterrupt
            _leave("interrupted.")
        asked = True
        _say("stopping after this step; Ctrl-C to stop at once.")

    def stop() -> bool:
        nonlocal stepping
        stepping = True
        return asked

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(sentence: str) -> NoReturn:
    """Ends the process at once: what was to be kept has been."""
    if rich.get_console().is_terminal:
        rich.get_console().show_cursor()  # which a live display hides
    _say(sentence)
    end_at_once(INTERRUPTED)


def warn(note: str) -> None:
    """Prints a remark on standard error, where it does not mix with results."""
    _say(note)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
