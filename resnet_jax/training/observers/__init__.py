"""What watches a run. The modules beside `base` and `console` are sinks, which write its numbers elsewhere.

A new sink is one file here: a subclass of `base.Sink` that the module names `SINK`. The name of the file is the name
that `--log` takes. Nothing is imported before it is asked for, so a sink's package may be missing.
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
    """The sinks that there are, whether their packages are installed or not."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NO_SINKS)


def sink_classes(names: Sequence[str]) -> dict[str, type[Sink]]:
    """The classes of sinks, by name; a name that comes twice counts once.

    Raises:
      UserError: a name is no sink's, or the package that it needs is not installed.
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
    """The sinks of a run; one that fails says so once through `note`, and the run goes on without it.

    Args:
      names: what `--log` names.
      directory: the run directory.
      study: the study that the run belongs to.
      config: the run's configuration.
      note: receives a sentence when a sink fails.

    Raises:
      UserError: as `sink_classes`.
    """
    classes = sink_classes(names)
    if not classes:
        return []
    from resnet_jax.training.observers.base import Guarded

    return [Guarded(name, made(directory, study, config), note) for name, made in classes.items()]
