"""The processes of a run: this module alone starts and ends JAX's distributed service.

With one process, which is the usual case, nothing here does anything, and every function gives the answer of one: a
caller need not ask how many there are. With several, `join` comes before any device is touched and `leave` at the end.
All processes run the same program, so that they call these functions in one order.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import jax

import resnet_jax
from resnet_jax.config import ExperimentConfig, ParallelConfig, flatten, to_dict
from resnet_jax.errors import UserError
from resnet_jax.text import sentence
from resnet_jax.training.launchers import launch
from resnet_jax.training.link import FAILED, Link, first_difference

T = TypeVar("T")


class OfPrimary(UserError):
    """An error of process 0, in another process."""


# Fields whose values a process has for itself.
_OWN = ("parallel.process", "parallel.coordinator", "parallel.processes")
# Seconds in which the link notices that a process is gone, after JAX noticed that its arrays do not come.
_NOTICE = 1.5
_link: Link | None = None


def join(
    config: ExperimentConfig,
    environment: Mapping[str, str] = os.environ,
    *,
    visible: int | None = None,
    also_alike: Mapping[str, Any] | None = None,
) -> None:
    """Makes this process one of those of a run, as `config.parallel` or a launcher says; before JAX sees its devices.

    Args:
      config: the same in all processes, but for the fields that say which one this is.
      environment: where launchers say so.
      visible: accelerators that this process could use; processes of one machine share them out where there are enough
        for all. None where that is not known, or on a CPU.
      also_alike: what else must be the same in all processes, by name, in JSON's types.

    Raises:
      UserError: processes cannot find each other, or differ; the sentence says which and in what.
    """
    global _link
    place = launch(config.parallel, environment)
    if place is None or _link is not None:
        return
    link = Link(place, config.parallel.start_seconds, config.parallel.stall_seconds)
    versions = {"resnet_jax": resnet_jax.__version__, "jax": jax.__version__, "Python": sys.version.split()[0]}
    welcome = link.connect({**_shared(config), **versions, **(also_alike or {})})
    _link = link
    try:
        _start_jax(link, welcome, config.parallel, visible)
    except Exception as error:
        fail(error)


def _shared(config: ExperimentConfig) -> dict[str, Any]:
    """The fields of a configuration that all processes have in common, by dotted name."""
    return {name: value for name, value in flatten(to_dict(config)).items() if name not in _OWN}


def _start_jax(link: Link, welcome: Mapping[str, Any], config: ParallelConfig, visible: int | None) -> None:
    place = link.launch
    each = config.devices // place.processes
    index, mates = welcome["local"]
    # Where a launcher gave each process its own devices, it sees no more than those.
    shared = visible is not None and mates > 1 and visible >= each * mates
    _delay_aborts()
    # A stop is agreed on over the link; JAX's handler would keep SIGTERM from this project's.
    jax.config.update("jax_enable_preemption_service", False)
    # Programs that talk to other processes must run in the order in which they were dispatched.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    jax.distributed.initialize(
        f"{place.coordinator.rpartition(':')[0]}:{welcome['jax']}",
        num_processes=place.processes,
        process_id=place.process,
        local_device_ids=list(range(index * each, (index + 1) * each)) if shared else None,
        cluster_detection_method="deactivate",
        initialization_timeout=math.ceil(config.start_seconds),
        # The link's watchdog comes first.
        heartbeat_timeout_seconds=round(2 * config.stall_seconds + 60),
        shutdown_timeout_seconds=math.ceil(config.stall_seconds),
    )


def _delay_aborts() -> None:
    """Has a thread that aborts this process sleep for 6 s before.

    Gloo, which moves arrays between CPUs, may abort where another process dies in the middle of a sum: it takes what
    comes next for a mismatch. In those seconds the link hears of that process, says so and ends this one. The handler
    is the C function itself, called with the signal's number, 6: an aborting thread need not be one of Python's.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))


def count() -> int:
    """The number of processes."""
    return 1 if _link is None else _link.launch.processes


def index() -> int:
    """This process's number, from 0."""
    return 0 if _link is None else _link.launch.process


def primary() -> bool:
    """Whether this is process 0, the one that writes and displays."""
    return index() == 0


def launched_by() -> str:
    """Who said where this process belongs: "Slurm", "hand", ...; empty with one process."""
    return "" if _link is None else _link.launch.by


def on_primary(work: Callable[[], T]) -> T:
    """What `work` returns in process 0, where alone it is done; a value of JSON's types, with several processes.

    Raises:
      UserError: what `work` raised as a mistake of the user or as an OSError, in every process.
    """
    if _link is None:
        return work()
    _link.report()
    if not primary():
        value, problem = _link.share(None)
        if problem is not None:
            raise OfPrimary(problem)
        return value  # type: ignore[no-any-return]
    try:
        value = work()
    except (UserError, OSError) as error:
        _link.share([None, sentence(error)])
        raise
    _link.share([value, None])
    return value


def require_alike(facts: Mapping[str, Any], config: ExperimentConfig | None = None) -> None:
    """Makes sure that all processes have the same facts, by name, in JSON's types, and the same configuration.

    Raises:
      UserError: one differs from process 0; the sentence says in what.
    """
    if _link is None:
        return
    _link.report()
    if problem := first_difference(_link, {**(_shared(config) if config else {}), **facts}):
        raise UserError(f"{problem}.")


def any_of(flag: bool) -> bool:
    """Whether the flag is set in one of the processes."""
    if _link is None:
        return flag
    _link.report()
    flags = _link.gather(flag)
    found: bool = _link.share(any(flags) if primary() else None)
    return found


def restart_agreement() -> None:
    """Forgets what `agree` has led to, at the begin of a run; between two calls of `on_primary`."""
    if _link is not None:
        _link.restart_agreement()


def agree(flag: bool) -> bool:
    """Whether all processes stop here: True in the same call of each, once one of them has said True."""
    return flag if _link is None else _link.agree(flag)


def report(where: str) -> None:
    """Says that this process goes on, and where it is, with the first step or later.

    All processes report equally often, so that one that is behind is seen.
    """
    if _link is not None:
        _link.report(where, steps=True)


def set_up(what: str) -> None:
    """Says with which part of the set-up this process begins, such as "compiling"."""
    if _link is not None:
        _link.report(what, counted=False)


def barrier(name: str, seconds: float) -> None:
    """Waits until all processes have come here, for so long at most.

    Raises:
      UserError: in process 0, naming those that have not.
    """
    if _link is not None:
        _link.barrier(name, seconds)


def leave() -> None:
    """Ends this process's part: waits for the others, then ends JAX's service."""
    global _link
    if _link is not None:
        _link.leave()
        jax.distributed.shutdown()
        _link = None


def fail(error: BaseException, status: int = FAILED) -> NoReturn:
    """Ends all processes with one sentence that names this one and the cause."""
    assert _link is not None
    if isinstance(error, OfPrimary):
        time.sleep(_NOTICE)  # process 0 ends all by it
    elif not isinstance(error, UserError | OSError | KeyboardInterrupt):
        time.sleep(_NOTICE)  # where another process is gone, that is the cause, and the link ends this process here
        traceback.print_exception(error)
    _link.fail(sentence(error), status)
    os._exit(status)
