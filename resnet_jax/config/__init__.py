"""Configurations of runs: frozen, typed dataclasses that are checked when they are built.

Every hyper-parameter is a field of one of these classes; derived values are properties. Each field also has a role
(section.py), which says what the field describes. Other modules use the roles when they compare, name or record runs.
This package does not import JAX, so that commands start quickly.
"""

from resnet_jax.config.data import DataConfig as DataConfig
from resnet_jax.config.experiment import (
    ExperimentConfig as ExperimentConfig,
    ParallelConfig as ParallelConfig,
    TrainConfig as TrainConfig,
)
from resnet_jax.config.model import (
    IMAGENET_BASIC_DEPTHS as IMAGENET_BASIC_DEPTHS,
    IMAGENET_STAGES as IMAGENET_STAGES,
    RELU_AFTER_LAST_NORM as RELU_AFTER_LAST_NORM,
    BatchNormConfig as BatchNormConfig,
    ModelConfig as ModelConfig,
)
from resnet_jax.config.optim import FinetuneConfig as FinetuneConfig, OptimConfig as OptimConfig
from resnet_jax.config.plain import (
    changed_fields as changed_fields,
    flatten as flatten,
    from_dict as from_dict,
    one_spelling as one_spelling,
    override as override,
    settle as settle,
    to_dict as to_dict,
    unbind as unbind,
)
from resnet_jax.config.section import Section as Section
