"""The experiments and studies, one file for each topic. Each file names its commands, its cost, and its sources.

A file may define EXPERIMENTS, a dictionary of named configurations for `experiments.train`, and STUDIES, a tuple of
studies for `experiments.sweep`. A new file needs no entry anywhere else.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from experiments.study import Study
from resnet_jax.config import ExperimentConfig


def experiments() -> dict[str, ExperimentConfig]:
    """All named configurations, by name."""
    return {name: config for module in _modules() for name, config in getattr(module, "EXPERIMENTS", {}).items()}


def studies() -> dict[str, tuple[Study, str]]:
    """All studies by name, each with its question in one sentence."""
    return {
        study.name: (study, study.purpose or (module.__doc__ or "").strip().split("\n")[0])
        for module in _modules()
        for study in getattr(module, "STUDIES", ())
    }


def _modules() -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(__path__):
        yield importlib.import_module(f"{__name__}.{info.name}")
