"""Divides independent work among several processes, and adds up their results.

Like the processes of a training run, these processes connect to each other, and all end when one of them fails
(docs/several-machines.md). Unlike them, these processes do not compute together in JAX.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

import resnet_jax
from experiments import cli
from resnet_jax.config import ParallelConfig
from resnet_jax.errors import UserError
from resnet_jax.text import sentence
from resnet_jax.training.launchers import detect, launch
from resnet_jax.training.link import Link

T = TypeVar("T")


class Share:
    """The share of one process: selects its items, and adds up numbers over all processes."""

    def __init__(self, link: Link | None) -> None:
        self._link = link
        self.count = 1 if link is None else link.launch.processes
        self.index = 0 if link is None else link.launch.process

    def of(self, items: Sequence[T]) -> list[T]:
        """The items of this process: those with the numbers `index`, `index` + `count`, `index` + 2 `count`, ..."""
        return list(items[self.index :: self.count])

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Adds up numbers over all processes, in the order of the processes; returns the sums in every process.

        The first sum is of the first numbers of all processes, and so on.
        """
        if self._link is None:
            return list(numbers)
        parts = self._link.gather(list(numbers))
        total: list[float] = self._link.share([sum(column) for column in zip(*parts, strict=True)])
        return total


@contextlib.contextmanager
def divided(
    processes: int | Literal["auto"], coordinator: str | None, process: int | None, alike: Mapping[str, Any]
) -> Iterator[Share]:
    """Context in which this process is connected to the others that divide the work. Only process 0 prints results.

    Args:
      processes: number of processes; "auto": as many as a launcher (such as Slurm) has started.
      coordinator: HOST:PORT at which process 0 listens; None: the launcher's value.
      process: number of this process, from 0; None: the launcher's value.
      alike: names and values that must be equal in all processes; the values have types of JSON.

    Raises:
      UserError: the processes do not find each other, or a value in `alike` differs.
    """
    link = _connected(processes, coordinator, process, alike)
    if link is None:
        yield Share(None)
        return
    with contextlib.ExitStack() as stack:
        if not link.primary:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        try:
            yield Share(link)
            link.leave()
        except BaseException as error:
            status = cli.status_of(error)
            if status == cli.FAILED:
                sys.excepthook(type(error), error, error.__traceback__)
            link.fail(sentence(error), status)


def _connected(
    processes: int | Literal["auto"], coordinator: str | None, process: int | None, alike: Mapping[str, Any]
) -> Link | None:
    found = detect(os.environ)
    count = processes if processes != "auto" else (found and found.processes) or 1
    try:
        # `launch` also divides devices among the processes: here each process has one.
        config = ParallelConfig(devices=max(1, count), processes=processes, coordinator=coordinator, process=process)
        place = launch(config, os.environ)
        if place is None:
            return None
        link = Link(place, config.start_seconds, config.stall_seconds)
        link.connect({"resnet_jax": resnet_jax.__version__, **alike})
    except UserError as error:
        raise UserError(str(error).replace("parallel.", "")) from error  # the options have shorter names here
    return link
