"""What the options of all instruments have in common. Nothing here imports JAX."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Literal

from resnet_jax.config import Section


@dataclass(frozen=True)
class Options(Section):
    """What all instruments have."""

    looks_at: typing.ClassVar[Literal["trained", "initial", "either"]] = "trained"
    """Finished nets, initial values (so that a configuration will do), or what it is given: the one or the other."""
    double: typing.ClassVar[bool] = False
    """Whether it computes in float64."""

    images: int = 512
    """Images to look at, drawn by `seed`; all of the split, where it has no more."""
    seed: int = 0
    """Seed of every random choice that the instrument makes."""

    def _check(self) -> None:
        for name, value in vars(self).items():
            self._require(name == "seed" or not isinstance(value, int) or value >= 1, name, "a whole number above 0")
        self._require(0 <= self.seed < 2**32, "seed", "a whole number from 0 to 2**32 - 1")
