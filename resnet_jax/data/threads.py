"""Processes images in parallel, with the results in order."""

import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

CHUNK = 32  # images per task: few enough that the progress bar moves, and many enough that small images are fast

T = TypeVar("T")
Results: TypeAlias = Generator[T, None, None]


def in_order(work: Callable[[int], T], count: int, advance: Callable[[int], None]) -> Results[T]:
    """Yields work(0), work(1), ..., work(count - 1), which a pool of threads computes.

    When the caller closes the generator, calls of `work` that have not begun are cancelled. `advance` is called with
    the number of results since its last call.

    Threads gain little for images of 32x32 pixels, because most of the time is spent in Python. They gain more for
    larger images, because Pillow releases Python's global lock while it decodes and resizes.
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
    """Number of CPU cores that this process may use. In a container, the machine may have more cores than that."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
