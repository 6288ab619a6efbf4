"""Deep residual networks, and plain networks with the same layers but no shortcuts, in JAX.

| name               | what it is                                                                  |
|--------------------|-----------------------------------------------------------------------------|
| `ExperimentConfig` | the configuration of a run: all configs below, and a random seed            |
| `ModelConfig`      | the net: depth, shortcut, kind of block, order of layers in a block         |
| `BatchNormConfig`  | batch normalisation: momentum, epsilon, and which images share statistics   |
| `DataConfig`       | the images: source, splits, normalisation, augmentation                     |
| `OptimConfig`      | the optimizer: learning rate, its schedule, momentum, weight decay          |
| `TrainConfig`      | the training loop: iterations, batch sizes, evaluations, checkpoints        |
| `FinetuneConfig`   | the pretrained net that a run starts from, and the number of frozen stages  |
| `ParallelConfig`   | the number of devices and processes, and how a step is divided over them    |
| `build`            | builds the Flax module that a ModelConfig describes                         |
| `load_data`        | loads the data set that a DataConfig describes                              |
| `train`            | trains a net and writes the run's record; resumes an interrupted run        |
| `assemble`         | builds the parts of a run: data, net, optimizer, initial state              |
| `run_keys`         | makes the random keys of a run: for initial values, and for augmentation    |
| `training_batches` | yields the indices of the training examples of each batch, in random order  |
| `eval_batches`     | yields the indices of each batch of an evaluation, every example once       |
| `train_step`       | computes one training step; a pure function                                 |
| `eval_step`        | computes loss and error of one batch in eval mode; a pure function          |
| `TrainState`       | everything that training changes, as one pytree                             |
| `TrainBatch`       | the input of `train_step`                                                   |
| `EvalBatch`        | the input of `eval_step`                                                    |
| `load_weights`     | reads a net from a run, a converted net or a PyTorch state dict             |
| `Weights`          | the net that `load_weights` returns: config, arrays, preprocessing, classes |
| `Classifier`       | classifies image files, and computes the features of any block              |
| `read_record`      | reads the record of a finished run                                          |
| `RunRecord`        | the type of a record: results, configuration, data, environment, cost       |
| `UserError`        | the exception for a wrong value; its message gives the legal values         |

Importing this package is fast: each name, and JAX with it, is imported when the name is first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_jax import data
    from resnet_jax.config import (
        BatchNormConfig as BatchNormConfig,
        DataConfig as DataConfig,
        ExperimentConfig as ExperimentConfig,
        FinetuneConfig as FinetuneConfig,
        ModelConfig as ModelConfig,
        OptimConfig as OptimConfig,
        ParallelConfig as ParallelConfig,
        TrainConfig as TrainConfig,
    )
    from resnet_jax.data.order import eval_batches as eval_batches, training_batches as training_batches
    from resnet_jax.errors import UserError as UserError
    from resnet_jax.models.resnet import build as build
    from resnet_jax.record import RunRecord as RunRecord, read_record as read_record
    from resnet_jax.training.assemble import assemble as assemble, run_keys as run_keys
    from resnet_jax.training.observers.base import Observer
    from resnet_jax.training.state import TrainState as TrainState
    from resnet_jax.training.step import (
        EvalBatch as EvalBatch,
        TrainBatch as TrainBatch,
        eval_step as eval_step,
        train_step as train_step,
    )
    from resnet_jax.weights.bundle import Weights as Weights
    from resnet_jax.weights.classifier import Classifier as Classifier

    load_data = data.load

__version__ = "0.1.0"

# The module that each name comes from. Type checkers read the imports above.
_SOURCES = {
    name: module
    for module, names in {
        "config": "BatchNormConfig DataConfig ExperimentConfig FinetuneConfig ModelConfig OptimConfig ParallelConfig "
        "TrainConfig",
        "data": "load_data",
        "data.order": "eval_batches training_batches",
        "errors": "UserError",
        "models.resnet": "build",
        "record": "RunRecord read_record",
        "training.assemble": "assemble run_keys",
        "training.state": "TrainState",
        "training.step": "EvalBatch TrainBatch eval_step train_step",
        "weights.bundle": "Weights",
        "weights.classifier": "Classifier",
    }.items()
    for name in names.split()
}
__all__ = sorted([*_SOURCES, "load_weights", "train"])


def train(
    config: ExperimentConfig,
    directory: str | Path,
    *,
    study: str | None = None,
    observers: Sequence[Observer] = (),
) -> RunRecord:
    """Trains the net of `config` and writes its record to `directory`; an interrupted run is resumed.

    Args:
      config: the configuration of the run.
      directory: the run directory. Its last part is the name of the run. If it holds a finished run, the record is
        returned and nothing is trained.
      study: the name of the study in the record; None: the name of the folder that contains `directory`.
      observers: objects that receive the progress of the run (resnet_jax/training/observers).

    Returns:
      The record, as it is in `directory`/record.json.

    Raises:
      UserError: `config` changes a field that has no effect.
      UserError: the directory holds a run of another configuration, or another process uses the directory.
      UserError: data are missing, or there are too few devices.
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
      UserError: the file is missing or damaged, its net is unknown, or an array has a wrong shape.
    """
    from resnet_jax.weights.files import load

    return load(Path(path))


def __getattr__(name: str) -> Any:
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    there = importlib.import_module(f"{__name__}.{_SOURCES[name]}")
    value = getattr(there, {"load_data": "load"}.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
