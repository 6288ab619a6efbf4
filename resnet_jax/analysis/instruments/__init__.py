"""The instruments: each module here is one. Its command has hyphens in its name instead of underscores.

A module has `OPTIONS`, a class of options whose docstring has the measured quantity, its source and the cost (for
digits nets on one CPU core), and `measure(net, options, workspace)`, which returns the content of a JSON file. Modules
import JAX only when they measure, so that --help is quick; the mathematics are in modules of resnet_jax/analysis.
Figures are in reports/figures/draw.py.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from resnet_jax.analysis.options import Options


def instruments() -> dict[str, type[Options]]:
    """The options of every instrument, by its name."""
    names = (module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
    return {name: instrument(name).OPTIONS for name in names}


def instrument(name: str) -> ModuleType:
    """The module of an instrument."""
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
