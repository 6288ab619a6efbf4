"""The arguments of instruments besides the net: options, a display of progress, and a file for partial results.

Nothing here imports JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from resnet_jax.config import Section


@dataclass(frozen=True)
class Options(Section):
    """The common options of all instruments."""

    looks_at: ClassVar[Literal["trained", "initial", "either"]] = "trained"
    """The nets that the instrument measures: finished nets, initial values (so configurations are legal), or either."""
    double: ClassVar[bool] = False
    """Whether the instrument computes in float64."""

    images: int = 512
    """Number of images, drawn by `seed`, or all of the split if it has fewer."""
    seed: int = 0
    """Seed of all random choices of the instrument."""

    def _check(self) -> None:
        for name, value in vars(self).items():
            self._require(name == "seed" or not isinstance(value, int) or value >= 1, name, "a whole number above 0")
        self._require(0 <= self.seed < 2**32, "seed", "a whole number from 0 to 2**32 - 1")


Advance = Callable[[], None]


@contextmanager
def _silent(total: int, what: str) -> Iterator[Advance]:
    yield lambda: None


@dataclass(frozen=True)
class Workspace:
    """The display and the file of one measurement."""

    progress: Callable[[int, str], AbstractContextManager[Advance]] = _silent
    """Starts a display: takes the number of parts and a text; returns a function to call after each part."""
    scratch: Path | None = None
    """File for partial results of an interrupted measurement; None: nothing is kept."""
