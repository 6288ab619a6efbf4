"""Checks the available memory before a large allocation, because Linux kills a process that needs too much."""

import os
from pathlib import Path

from resnet_jax.errors import UserError

MEMINFO = Path("/proc/meminfo")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def available() -> int | None:
    """Number of bytes that can be allocated without swapping and within a container's limit; None if it is unknown."""
    known = [size for size in (_free(), _limit()) if size is not None]
    return min(known, default=None)


def require(size: int, what: str, remedy: str) -> None:
    """Checks that `size` bytes of memory are available.

    Raises:
      UserError: fewer bytes are available. The message begins with `what`, such as "10 images of 2x2x3", and ends
        with `remedy`.
    """
    there = available()
    if there is not None and size > there:
        raise UserError(f"{what} need {gigabytes(size)} of memory and {gigabytes(there)} are available; {remedy}.")


def gigabytes(size: int) -> str:
    """A number of bytes as text, such as "184 MB" or "1.2 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size:,} bytes"


def _free() -> int | None:
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:  # on other systems than Linux, only the total memory is known
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _limit() -> int | None:
    try:
        return int(CGROUP_LIMIT.read_text())
    except (OSError, ValueError):  # no control group, or "max"
        return None
