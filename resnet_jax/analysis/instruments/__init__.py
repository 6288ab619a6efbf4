"""The instruments, one in each module of this folder. Command lines write their names with hyphens, not underscores.

Each module has `OPTIONS`, a class of options, and `measure(net, options, workspace)`, which returns the results for a
JSON file. The docstring of the class names the measured quantity, its source, and its cost for digits nets on one CPU
core. Modules import JAX only to measure, so that --help is quick. The mathematics is in resnet_jax/analysis, and the
figures are in reports/figures/draw.py.
"""

import importlib
import pkgutil
from types import ModuleType

from resnet_jax.analysis.options import Options


def instruments() -> dict[str, type[Options]]:
    """The options class of each instrument, by the instrument's name."""
    names = (module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
    return {name: instrument(name).OPTIONS for name in names}


def instrument(name: str) -> ModuleType:
    """The module of an instrument, such as "layer-responses"."""
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
