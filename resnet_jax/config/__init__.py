"""What a run is: frozen, typed configurations, checked where they are built.

Nothing here imports JAX, so a command line can parse, check and explain itself without waiting for it.
Every hyper-parameter of a run is a field of one of these classes; derived values are properties. What a field is for
those who compare, name or record runs stands beside it, as its role (section.py).
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
