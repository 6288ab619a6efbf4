"""Work on images in parallel, its results in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

CHUNK = 32  # images a task: the bar still moves with large images, and small ones are not all overhead

T = TypeVar("T")
Results: TypeAlias = Generator[T, None, None]


def in_order(work: Callable[[int], T], count: int, advance: Callable[[int], None]) -> Results[T]:
    """work(0), work(1), ... from a pool of threads; what is not begun when the caller closes this is not done.

    Threads, for Pillow decodes and resizes outside Python's lock. Images of 32x32 pixels take most of their time in
    Python, so for them threads gain little. Two processes were no faster there (10,000 of them, two busy cores), and
    each would import the caller's program again.
    """

    def chunk(start: int) -> list[T]:
        return [work(i) for i in range(start, min(start + CHUNK, count))]

    pool = ThreadPoolExecutor(cores(), thread_name_prefix="decode")
    try:
        for results in pool.map(chunk, range(0, count, CHUNK)):
            advance(len(results))
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """The cores that this process may use, where the system says: a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
