"""The instruments: each module here is one, by its name with hyphens. Nothing lists them.

A module has `OPTIONS`, a class of options whose docstring says what the instrument measures, where it is from and what
it costs (for digits nets on one CPU core), and `measure(net, options, workspace)`, which returns what goes into a JSON
file. No module imports JAX before it measures, so that help and mistakes come at once; mathematics that need it stand
in modules of resnet_jax/analysis. Figures of an instrument, where it has some, are in reports/figures/draw.py.
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
