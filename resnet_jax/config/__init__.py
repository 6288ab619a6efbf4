"""Configurations of runs: frozen, typed dataclasses that are checked when they are built.

Every hyper-parameter is a field of one of these classes; derived values are properties. Each field also has a role, for
code that compares, names or records runs (section.py). Nothing here imports JAX, so command lines start quickly.
"""

from resnet_jax.config.data import DataConfig
from resnet_jax.config.experiment import ExperimentConfig, ParallelConfig, TrainConfig
from resnet_jax.config.model import (
    IMAGENET_BASIC_DEPTHS,
    IMAGENET_STAGES,
    RELU_AFTER_LAST_NORM,
    BatchNormConfig,
    ModelConfig,
)
from resnet_jax.config.optim import FinetuneConfig, OptimConfig
from resnet_jax.config.plain import changed_fields, flatten, from_dict, one_spelling, override, settle, to_dict, unbind
from resnet_jax.config.section import Section

__all__ = [
    "IMAGENET_BASIC_DEPTHS",
    "IMAGENET_STAGES",
    "RELU_AFTER_LAST_NORM",
    "BatchNormConfig",
    "DataConfig",
    "ExperimentConfig",
    "FinetuneConfig",
    "ModelConfig",
    "OptimConfig",
    "ParallelConfig",
    "Section",
    "TrainConfig",
    "changed_fields",
    "flatten",
    "from_dict",
    "one_spelling",
    "override",
    "settle",
    "to_dict",
    "unbind",
]
