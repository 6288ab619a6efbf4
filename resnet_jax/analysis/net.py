"""A net with its parameters and its data set, as the input of an instrument, and a loader of such nets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from resnet_jax.config import DataConfig, ExperimentConfig, to_dict
from resnet_jax.data import Dataset, Normalization, load
from resnet_jax.models.resnet import ResNet, build
from resnet_jax.record import RECORD_FILE, read_record
from resnet_jax.text import Note
from resnet_jax.training.assemble import Assembly, assemble
from resnet_jax.training.ema import evaluated
from resnet_jax.training.restore import restore
from resnet_jax.training.state import TrainState
from resnet_jax.types import Variables


class Examples(NamedTuple):
    """NumPy arrays: normalised images [N, H, W, C] in the dtype of the net's parameters, and labels [N], int32."""

    images: Any
    labels: Any


@dataclass(frozen=True)
class Net:
    """A net with its parameters, batch statistics, configuration and data set. Its stages are unrolled, not scanned."""

    name: str
    config: ExperimentConfig
    """Configuration of the run, in which the number of classes is filled in."""
    model: ResNet
    variables: Variables
    """{"params": ..., "batch_stats": ...}, on the host."""
    dataset: Dataset
    normalization: Normalization
    directory: Path | None = None
    """The run directory; None for a net that was built from a configuration."""

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for JSON files: name, kind, depth and configuration of the net, and the run with its code version.

        The run and the code version are None if the net has no run with a record.
        """
        model = self.config.model
        facts = {"name": self.name, "net": model.net, "depth": model.depth, "plain": model.is_plain}
        facts |= {"config": to_dict(self.config), "run": None, "code": None}
        if self.directory is not None and (self.directory / RECORD_FILE).exists():
            record = read_record(self.directory / RECORD_FILE)
            facts |= {"run": f"{record.study}/{record.run}", "code": record.environment.code}
        return facts

    def examples(self, split: str, number: int, seed: int = 0) -> Examples:
        """Draws examples of a split ("train" or "test") at random, without replacement.

        If the split has no more than `number` examples, all are drawn. The choice is random because the first images of
        an image folder all have the same class.
        """
        part = getattr(self.dataset, split)
        index = np.random.default_rng(seed).permutation(len(part))[:number]
        dtype = np.float64 if self.config.model.dtype == "float64" else np.float32
        return Examples(self.normalization(part.take(index)).astype(dtype), part.labels[index])

    def in_float64(self) -> Net:
        """Returns the same net with computations in float64. JAX's x64 mode must be on."""
        config = dataclasses.replace(self.config, model=dataclasses.replace(self.config.model, dtype="float64"))
        variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), self.variables)
        return dataclasses.replace(self, config=config, model=build(config.model), variables=variables)


class Loader:
    """Loads nets. Each data set is loaded only once."""

    def __init__(self, note: Note = lambda text: None) -> None:
        self._note = note
        self._datasets: dict[DataConfig, Dataset] = {}

    def trained(self, directory: Path, name: str) -> Net:
        """Loads a trained net: the parameters and batch statistics that a finished run had after its last step.

        Raises:
          UserError: the run has not finished, its checkpoint is missing or damaged, or its data set has changed.
        """
        assembly, state = restore(directory, self._note, self._load)
        return _net(name, assembly, state, directory)

    def untrained(self, config: ExperimentConfig, name: str, directory: Path | None = None) -> Net:
        """Builds the net at the start of a run, with random values or with the weights of `finetune.weights`.

        Raises:
          UserError: the data or the weights are missing or damaged, or differ from what the configuration requires.
        """
        assembly = assemble(config, self._note, dataset=self._load(config.data, self._note))
        return _net(name, assembly, assembly.initial, directory)

    def _load(self, config: DataConfig, note: Note) -> Dataset:
        if config not in self._datasets:
            self._datasets[config] = load(config, note)
        return self._datasets[config]


def _net(name: str, assembly: Assembly, state: TrainState, directory: Path | None) -> Net:
    model = dataclasses.replace(assembly.config.model, stages="unrolled", remat=False)
    config = dataclasses.replace(assembly.config, model=model)
    state = evaluated(state, assembly.config.optim)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return Net(name, config, build(model), variables, assembly.dataset, assembly.normalization, directory)
