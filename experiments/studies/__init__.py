"""The experiments and studies, a file for each topic, with its command, its cost and the sources of its numbers.

A file may define EXPERIMENTS, a dictionary of named configurations for `experiments.train`, and STUDIES, a tuple of
studies for `experiments.sweep`. Adding a file here is all it takes.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from experiments.study import Study
from resnet_jax.config import ExperimentConfig


def experiments() -> dict[str, ExperimentConfig]:
    """Every named configuration."""
    return {name: config for module in _modules() for name, config in getattr(module, "EXPERIMENTS", {}).items()}


def studies() -> dict[str, tuple[Study, str]]:
    """Every study, with its question in a sentence."""
    return {
        study.name: (study, study.purpose or (module.__doc__ or "").strip().split("\n")[0])
        for module in _modules()
        for study in getattr(module, "STUDIES", ())
    }


def _modules() -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(__path__):
        yield importlib.import_module(f"{__name__}.{info.name}")
