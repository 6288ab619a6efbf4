"""Observers of a run: the display on a terminal, and sinks, which write the numbers of a run for other programs.

Each module here except `base` and `console` is a sink, for example TensorBoard. A new sink is one file, NAME.py, in
which `SINK` is a subclass of `base.Sink`. The user chooses this sink by `--log NAME`. A sink is imported only when it
is used, so the package that it needs may be missing.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_jax.config import ExperimentConfig
from resnet_jax.errors import UserError

if TYPE_CHECKING:
    from resnet_jax.training.observers.base import Observer, Sink

_NO_SINKS = ("base", "console")


def sink_names() -> list[str]:
    """The names of all sinks, including sinks whose packages are not installed."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NO_SINKS)


def sink_classes(names: Sequence[str]) -> dict[str, type[Sink]]:
    """The classes of the named sinks, by name.

    Raises:
      UserError: a name is unknown, or the package of a sink is not installed.
    """
    found = {}
    for name in names:
        if name not in sink_names():
            raise UserError(f"log: got {name!r}; legal: {', '.join(sink_names())}.")
        try:
            found[name] = importlib.import_module(f"{__name__}.{name}").SINK
        except ModuleNotFoundError as error:
            raise UserError(
                f"log: {name!r} needs the package {error.name}, which is not installed: "
                f"pip install 'deep-residual-jax[{name}]'."
            ) from error
    return found


def open_sinks(
    names: Sequence[str], directory: Path, study: str, config: ExperimentConfig, note: Callable[[str], None]
) -> list[Observer]:
    """Makes the sinks with these names. If one fails later, `note` gets one sentence and the run continues without it.

    Raises:
      UserError: a name is unknown, or the package of a sink is not installed.
    """
    classes = sink_classes(names)
    if not classes:
        return []
    from resnet_jax.training.observers.base import Guarded

    return [Guarded(name, made(directory, study, config), note) for name, made in classes.items()]
