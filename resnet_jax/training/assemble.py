"""`assemble(config)`: the data, normalisation, net, optimizer and starting values of a run, made in this one place.

Training, the tools that look at finished runs, the analysis and the pictures of a batch all start from an Assembly, so
that each of them means the same run. Nothing here is compiled and nothing depends on the devices of the run.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
import optax
from jax import Array

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.data import Dataset, Normalization, load, normalization
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import ResNet, build
from resnet_jax.text import Note
from resnet_jax.training import ema, optim, state as state_lib
from resnet_jax.training.pretrained import Pretrained, pretrained
from resnet_jax.training.state import TrainState
from resnet_jax.weights.bundle import Origin, Weights, flatten
from resnet_jax.weights.preprocessing import Preprocessing

HEAD = "head"


@dataclass(frozen=True)
class Assembly:
    """Everything that a configuration makes before any step is compiled."""

    config: ExperimentConfig
    """The run's configuration, with the number of classes resolved and shares of the run in iterations."""
    dataset: Dataset
    normalization: Normalization
    model: ResNet
    """The net, written out block by block; it knows which stages are frozen."""
    optimizer: optax.GradientTransformationExtraArgs
    pretrained: Pretrained | None
    """The net that the starting values come from; None for random values, or where
    `assemble` left it out."""

    @cached_property
    def initial(self) -> TrainState:
        """The state before the first step, on the host, block by block."""
        assert self.pretrained is not None or self.config.finetune.weights is None
        key, _ = run_keys(self.config.seed)
        state: TrainState = jax.device_get(self._create(key))
        if self.pretrained is None:
            return state
        variables = self.pretrained.variables
        # The last layer is new: the data have other classes.
        params = {**variables["params"], HEAD: state.params[HEAD]}
        return self._averaging(state.replace(params=params, batch_stats=variables["batch_stats"]))

    @cached_property
    def blank(self) -> TrainState:
        """A state of zeros with the structure, shapes and dtypes of the run's states, on the host."""
        shapes = jax.eval_shape(self._create, jax.random.key(0))
        state: TrainState = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        return state

    def weights(self, state: TrainState, name: str) -> Weights:
        """The run's net after some step, as files keep it: with what it takes to use it without the run's data.

        Its preprocessing makes of a picture what the run's own images are in evaluation. Streamed images were resized
        to `data.eval_resize` and cropped; images of a folder in memory were resized to a size, and other pictures fill
        a square of that size; where the data's images are not square, a picture must have their size already.

        Args:
          state: on the host, block by block.
          name: the run's name.
        """
        state = ema.evaluated(state, self.config.optim)
        height, width, channels = self.dataset.image_shape
        resize = height if height == width else None
        if self.config.data.streamed:
            resize = self.config.data.eval_resize
        return Weights(
            model=self.config.model,
            arrays=flatten(state.params, state.batch_stats),
            preprocessing=Preprocessing(resize, height, width, channels, self.normalization),
            class_names=self.dataset.class_names,
            origin=Origin(name, state_lib.fingerprint(state.params)),
        )

    def _create(self, key: Array) -> TrainState:
        return self._averaging(state_lib.create(self.model, self.optimizer, key, self.dataset.image_shape))

    def _averaging(self, state: TrainState) -> TrainState:
        """A state at the start of a run, with the start of its average where the run keeps one."""
        return state if self.config.optim.ema is None else ema.start(state)


def assemble(
    config: ExperimentConfig,
    note: Note = lambda text: None,
    *,
    dataset: Dataset | None = None,
    starting: bool = True,
) -> Assembly:
    """The parts of a run of `config`.

    Args:
      config: the run.
      note: receives remarks about the data, a line at a time.
      dataset: the data set of `config.data`, where it is loaded already.
      starting: whether the starting values are wanted. False for a finished run, whose values come from its checkpoint:
        then `finetune.weights` is read only where the normalisation is taken from it.

    Raises:
      UserError: the data are missing or damaged, or have another number of classes than the config says; the file of
        `finetune.weights` cannot be read, or holds another net, or one for other images.
    """
    # Before the data: a wrong file is reported before images are decoded.
    net = pretrained(config) if starting or config.data.normalize == "weights" else None
    dataset = load(config.data, note) if dataset is None else dataset
    config = dataclasses.replace(config.in_iterations(), model=resolve(config.model, dataset))
    return Assembly(
        config=config,
        dataset=dataset,
        normalization=run_normalization(config, dataset, net, note),
        model=build(config.model).clone(frozen_stages=config.finetune.frozen_stages),
        optimizer=optim.sgd(
            config.optim, config.finetune, len(config.model.stage_blocks), iterations=config.train.iterations
        ),
        pretrained=net,
    )


def run_keys(seed: int) -> tuple[Array, Array]:
    """The keys of a run, by purpose: initial values, and augmentation."""
    initial, augmentation = jax.random.split(jax.random.key(seed))
    return initial, augmentation


def resolve(config: ModelConfig, dataset: Dataset) -> ModelConfig:
    """`config` with its number of classes, taken from the data where the config leaves it to them.

    Raises:
      UserError: the config names another number than the data have.
    """
    if config.num_classes not in (None, dataset.num_classes):
        raise UserError(
            f"model.num_classes: got {config.num_classes}; legal: {dataset.num_classes}, the classes of "
            f"{dataset.name}, or None to take them from the data."
        )
    return dataclasses.replace(config, num_classes=dataset.num_classes)


def run_normalization(
    config: ExperimentConfig, dataset: Dataset, net: Pretrained | None, note: Note = lambda text: None
) -> Normalization:
    """The statistics by which a run's images are normalised.

    Raises:
      UserError: the net takes images of other channels than the data's, or was trained with the mean image of another
        size.
    """
    channels = dataset.image_shape[2]
    if net is not None and channels != net.preprocessing.channels:
        # Pictures of files are read in grey or in colour, as one likes.
        files = config.data.source == "folder" or config.data.streamed
        readable = files and net.preprocessing.channels in (1, 3)
        remedy = f"; --data.channels={net.preprocessing.channels} reads them so" if readable else ""
        raise UserError(
            f"finetune.weights: {net.facts.file} takes images of {net.preprocessing.channels} channels, those of "
            f"{dataset.name} have {channels}{remedy}."
        )
    if config.data.normalize != "weights":
        return normalization(dataset.train, config.data, note)
    assert net is not None, "checked by ExperimentConfig"
    found = net.preprocessing.normalization
    if any(size not in (1, whole) for size, whole in zip(found.mean.shape[1:], dataset.image_shape, strict=True)):
        raise UserError(
            f"data.normalize: got 'weights', the mean image of {net.facts.file}, which is "
            f"{found.mean.shape[2]}x{found.mean.shape[1]} pixels, and the data's are "
            f"{dataset.image_shape[1]}x{dataset.image_shape[0]}; legal: images of that size, or 'channel_mean_std'."
        )
    return found
