"""Deep residual networks and their plain twins in JAX.

| name               | what it is                                                                     |
|--------------------|--------------------------------------------------------------------------------|
| `ExperimentConfig` | a complete run: the sections below, and a random seed |
| `ModelConfig`      | the net: depth, shortcut, kind of block, order of layers in a block            |
| `BatchNormConfig`  | batch normalisation: momentum, epsilon, and which images share statistics      |
| `DataConfig`       | the images: source, splits, normalisation, augmentation                        |
| `OptimConfig`      | the optimizer: learning rate, its schedule, momentum, weight decay             |
| `TrainConfig`      | iterations, batches, evaluations, checkpoints |
| `FinetuneConfig`   | the pretrained net that a run starts from, and which stages are frozen         |
| `ParallelConfig`   | the number of devices, and how a step is spread over them                      |
| `build`            | the Flax module of a ModelConfig                                               |
| `load_data`        | the data set of a DataConfig                                                   |
| `train`            | a run from its configuration to its record; an interrupted run is resumed      |
| `assemble`         | the parts of a run: data, net, optimizer, initial state                        |
| `run_keys`         | the random keys of a run: initial values, and augmentation                     |
| `training_batches` | the order of the training examples, batch by batch                             |
| `eval_batches`     | every example of a set once, batch by batch                                    |
| `train_step`       | one training step, a pure function                                             |
| `eval_step`        | loss and error of one batch in eval mode, a pure function                      |
| `TrainState`       | everything that training changes, as one pytree                                |
| `TrainBatch`       | the input of `train_step`                                                      |
| `EvalBatch`        | the input of `eval_step`                                                       |
| `load_weights`     | a net from a run, a folder or a PyTorch state dict                             |
| `Weights`          | a net that was read: configuration, arrays, preprocessing, class names |
| `Classifier`       | a net that takes pictures: probabilities, and the features of any block        |
| `read_record`      | the record of a finished run                                                   |
| `RunRecord`        | the type of a record: results, configuration, data, environment, cost |
| `UserError`        | the error for a wrong value; its text says what is legal |

Importing this package is quick: each name, and JAX with it, is imported when the name is first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_jax.config import (
        BatchNormConfig,
        DataConfig,
        ExperimentConfig,
        FinetuneConfig,
        ModelConfig,
        OptimConfig,
        ParallelConfig,
        TrainConfig,
    )
    from resnet_jax.data import load as load_data
    from resnet_jax.data.order import eval_batches, training_batches
    from resnet_jax.errors import UserError
    from resnet_jax.models.resnet import build
    from resnet_jax.record import RunRecord, read_record
    from resnet_jax.training.assemble import assemble, run_keys
    from resnet_jax.training.observers.base import Observer
    from resnet_jax.training.state import TrainState
    from resnet_jax.training.step import EvalBatch, TrainBatch, eval_step, train_step
    from resnet_jax.weights.bundle import Weights
    from resnet_jax.weights.classifier import Classifier

__version__ = "0.1.0"

__all__ = [
    "BatchNormConfig",
    "Classifier",
    "DataConfig",
    "EvalBatch",
    "ExperimentConfig",
    "FinetuneConfig",
    "ModelConfig",
    "OptimConfig",
    "ParallelConfig",
    "RunRecord",
    "TrainBatch",
    "TrainConfig",
    "TrainState",
    "UserError",
    "Weights",
    "assemble",
    "build",
    "eval_batches",
    "eval_step",
    "load_data",
    "load_weights",
    "read_record",
    "run_keys",
    "train",
    "train_step",
    "training_batches",
]

# The module of each name, and its name there if it differs. Type checkers read the imports above.
_SOURCES = {
    **dict.fromkeys(
        (
            "BatchNormConfig",
            "DataConfig",
            "ExperimentConfig",
            "FinetuneConfig",
            "ModelConfig",
            "OptimConfig",
            "ParallelConfig",
            "TrainConfig",
        ),
        "config",
    ),
    "Classifier": "weights.classifier",
    "EvalBatch": "training.step",
    "RunRecord": "record",
    "TrainBatch": "training.step",
    "TrainState": "training.state",
    "UserError": "errors",
    "Weights": "weights.bundle",
    "assemble": "training.assemble",
    "build": "models.resnet",
    "eval_batches": "data.order",
    "eval_step": "training.step",
    "load_data": "data:load",
    "read_record": "record",
    "run_keys": "training.assemble",
    "train_step": "training.step",
    "training_batches": "data.order",
}


def train(
    config: ExperimentConfig,
    directory: str | Path,
    *,
    study: str | None = None,
    observers: Sequence[Observer] = (),
) -> RunRecord:
    """Trains the net of `config` and writes its record to `directory`; an interrupted run is resumed.

    Args:
      config: the run.
      directory: the run directory. Its last part is the name of the run. If it holds a finished run, the record is
        returned and nothing is trained.
      study: the name of the study in the record; None: the name of the folder that contains `directory`.
      observers: receive the run's progress (resnet_jax/training/observers).

    Raises:
      UserError: a value in `config` has no effect, the directory has another configuration or is used by another
        process, data are missing, or there are too few devices.
      OSError: the directory cannot be written.
    """
    from resnet_jax.training.run import run

    directory = Path(directory)
    return run(config, directory, study=study or directory.absolute().parent.name, observers=observers)


def load_weights(path: str | Path) -> Weights:
    """Reads a net: its configuration, arrays, preprocessing and class names. PyTorch is not needed.

    Args:
      path: a finished run's directory, a folder that `experiments.convert` wrote, or a PyTorch state dict
        (.safetensors, .pt, .pth, .th).

    Raises:
      UserError: the file is missing or damaged, or holds an unknown net or arrays of other shapes.
    """
    from resnet_jax.weights.files import load

    return load(Path(path))


def __getattr__(name: str) -> Any:
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, there = _SOURCES[name].partition(":")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), there or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
