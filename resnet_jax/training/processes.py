"""The processes of a run. Only this module starts and ends JAX's distributed service.

In a run of one process, each function returns at once with the answer for one process, so callers need no special
case. In a run of several processes, all must call these functions in the same order: `join` before any device is used,
and `leave` at the end.
"""

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
    """Raised in all processes except process 0 if process 0 failed in `on_primary`. It has the message of process 0."""


# Fields that may differ between processes.
_OWN = ("parallel.process", "parallel.coordinator", "parallel.processes")
# JAX notices the end of a process first; the link notices it at most so many seconds later.
_NOTICE = 1.5
_link: Link | None = None


def join(
    config: ExperimentConfig,
    environment: Mapping[str, str] = os.environ,
    *,
    visible: int | None = None,
    also_alike: Mapping[str, Any] | None = None,
) -> None:
    """Connects this process with the other processes of the run. Must be called before JAX uses its devices.

    The number of processes, the number of this process and the address of process 0 come from `config.parallel` or from
    a launcher.

    Args:
      config: the configuration of the run; equal in all processes, except for `parallel.process`,
        `parallel.processes` and `parallel.coordinator`.
      environment: the environment variables of this process, which a launcher may have set.
      visible: number of accelerators that this process can use; None if unknown, or on a CPU. If these
        accelerators are enough for all processes of the machine, each process uses its own part of them.
      also_alike: other values that must be equal in all processes, by name, in JSON's types.

    Raises:
      UserError: the processes cannot connect, or their values differ. The message names the process and the value.
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
    except Exception as error:  # the other processes wait, and must end too
        fail(error)


def _shared(config: ExperimentConfig) -> dict[str, Any]:
    """The values of a configuration that must be equal in all processes, by dotted field name."""
    return {name: value for name, value in flatten(to_dict(config)).items() if name not in _OWN}


def _start_jax(link: Link, welcome: Mapping[str, Any], config: ParallelConfig, visible: int | None) -> None:
    place = link.launch
    each = config.devices // place.processes
    index, mates = welcome["local"]
    # A launcher may make only the process's own devices visible; then the processes have nothing to divide.
    shared = visible is not None and mates > 1 and visible >= each * mates
    _delay_aborts()
    # Processes agree on a stop over the link; JAX's handler of SIGTERM would prevent that.
    jax.config.update("jax_enable_preemption_service", False)
    # Programs that communicate must run in the order in which they were dispatched.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    jax.distributed.initialize(
        f"{place.coordinator.rpartition(':')[0]}:{welcome['jax']}",
        num_processes=place.processes,
        process_id=place.process,
        local_device_ids=list(range(index * each, (index + 1) * each)) if shared else None,
        cluster_detection_method="deactivate",
        initialization_timeout=math.ceil(config.start_seconds),
        # The link notices faults first.
        heartbeat_timeout_seconds=round(2 * config.stall_seconds + 60),
        shutdown_timeout_seconds=math.ceil(config.stall_seconds),
    )


def _delay_aborts() -> None:
    """Delays an abort of this process by 6 s.

    Gloo, which moves arrays between CPUs, may abort when another process dies. In the delay, the link notices the dead
    process, prints the cause and ends this process.

    An abort is the signal SIGABRT. Its handler must be a C function, because a thread that Python does not know may
    abort. The handler is `sleep`. A handler gets the number of its signal as argument, and SIGABRT is 6: so it sleeps
    6 s.
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
    """Whether this is process 0, which writes the files of the run and displays its progress."""
    return index() == 0


def launched_by() -> str:
    """The launcher that started the processes, such as "Slurm"; empty if the run has one process.

    The result is "hand" if no launcher started the processes, or if the user set `parallel.process`.
    """
    return "" if _link is None else _link.launch.by


def on_primary(work: Callable[[], T]) -> T:
    """Calls `work` in process 0, and returns its result in all processes. The result must have JSON's types.

    Raises:
      UserError: in process 0, if `work` raised it.
      OSError: in process 0, if `work` raised it.
      OfPrimary: in all other processes, if `work` raised UserError or OSError in process 0.
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
    """Checks that all processes have the same facts (values by name, in JSON's types) and the same configuration.

    Raises:
      UserError: a process has another value than process 0. The message names the process and both values.
    """
    if _link is None:
        return
    _link.report()
    if problem := first_difference(_link, {**(_shared(config) if config else {}), **facts}):
        raise UserError(f"{problem}.")


def any_of(flag: bool) -> bool:
    """Whether `flag` is True in at least one process."""
    if _link is None:
        return flag
    _link.report()
    flags = _link.gather(flag)
    found: bool = _link.share(any(flags) if primary() else None)
    return found


def restart_agreement() -> None:
    """Resets `agree` for a new run: `agree` forgets that the previous run was stopped, and returns False again.

    The caller must call `on_primary` once before this function and once after it.
    """
    if _link is not None:
        _link.restart_agreement()


def agree(flag: bool) -> bool:
    """Whether all processes stop now. Each process calls this after every dispatch of steps.

    After one process has passed True, all processes soon return True. They do so in the same call: for example, each
    process returns True in its 812th call.
    """
    return flag if _link is None else _link.agree(flag)


def report(where: str) -> None:
    """Reports the position of this process, such as "step 812". Used from the first step on.

    All processes must make the same number of reports, because a process with fewer reports counts as being behind.
    """
    if _link is not None:
        _link.report(where, steps=True)


def set_up(what: str) -> None:
    """Reports, before the first step, what this process does now, such as "compiling"."""
    if _link is not None:
        _link.report(what, counted=False)


def barrier(name: str, seconds: float) -> None:
    """Waits until all processes have called this, for at most `seconds`.

    Raises:
      UserError: in process 0, if a process has not called this in time. The message names the missing processes.
    """
    if _link is not None:
        _link.barrier(name, seconds)


def leave() -> None:
    """Waits for the other processes, then ends JAX's service."""
    global _link
    if _link is not None:
        _link.leave()
        jax.distributed.shutdown()
        _link = None


def fail(error: BaseException, status: int = FAILED) -> NoReturn:
    """Ends all processes. Each process prints the same sentence, with the number of this process and `error`."""
    assert _link is not None
    if isinstance(error, OfPrimary):
        time.sleep(_NOTICE)  # process 0 ends all processes
    elif not isinstance(error, UserError | OSError | KeyboardInterrupt):
        time.sleep(_NOTICE)  # if another process has ended, that is the cause, and the link ends this process
        traceback.print_exception(error)
    _link.fail(sentence(error), status)
