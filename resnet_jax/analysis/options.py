"""The arguments of an instrument besides the net: its options, a progress display, a file for partial results."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from resnet_jax.config import Section


@dataclass(frozen=True)
class Options(Section):
    """The options that all instruments have."""

    looks_at: ClassVar[Literal["trained", "initial", "either"]] = "trained"
    """The nets that the instrument accepts. "trained": finished runs. "initial": nets at their initial values, from a
    run or a configuration. "either": both."""
    double: ClassVar[bool] = False
    """Whether the instrument computes in float64."""

    images: int = 512
    """Number of images, drawn at random by `seed`. If the split has fewer images, all are used."""
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
    """The progress display and the file for partial results of one measurement."""

    progress: Callable[[int, str], AbstractContextManager[Advance]] = _silent
    """Context manager that shows a progress display. It takes the number of steps and a text, and yields a function to
    call after each step."""
    scratch: Path | None = None
    """File for partial results, so that an interrupted measurement can resume; None: partial results are not kept."""
