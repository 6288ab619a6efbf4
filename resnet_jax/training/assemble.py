"""`assemble(config)`: the data, normalisation, net, optimizer and initial values of a run.

Training, analysis and the tools for finished runs all call `assemble`, so all of them use the same data and the same
net. Nothing here is compiled or depends on the devices.
"""

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
    """The data, normalisation, net, optimizer and initial values of a run, before any step is compiled."""

    config: ExperimentConfig
    """The configuration, with `num_classes` set, and with milestones and warm-up in iterations."""
    dataset: Dataset
    normalization: Normalization
    model: ResNet
    """The net with its frozen stages. It doesn't scan over blocks, so each block has its own subtree of variables."""
    optimizer: optax.GradientTransformationExtraArgs
    pretrained: Pretrained | None
    """The source of the initial values; None if they are random, or if `assemble` did not read it."""

    @cached_property
    def initial(self) -> TrainState:
        """The state before the first step, on the host, with one subtree of variables for each block."""
        assert self.pretrained is not None or self.config.finetune.weights is None
        key, _ = run_keys(self.config.seed)
        state: TrainState = jax.device_get(self._create(key))
        if self.pretrained is None:
            return state
        variables = self.pretrained.variables
        # The last layer is new, because the classes differ.
        params = {**variables["params"], HEAD: state.params[HEAD]}
        return self._averaging(state.replace(params=params, batch_stats=variables["batch_stats"]))

    @cached_property
    def blank(self) -> TrainState:
        """A state of zeros with the structure, shapes and dtypes of the run's states, on the host."""
        shapes = jax.eval_shape(self._create, jax.random.key(0))
        state: TrainState = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        return state

    def weights(self, state: TrainState, name: str) -> Weights:
        """The net of a state, with its preprocessing and class names. The result can be used without the data.

        The preprocessing turns a picture (an image file) into an input of the net. It depends on the run's images:

        - streamed images: a picture is resized to `data.eval_resize` and cropped to the size of the run's images;
        - square images in memory: a picture is resized to the size of the run's images;
        - other images in memory: a picture must already have the size of the run's images.

        Args:
          state: a state on the host, with one subtree of variables for each block.
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
        return state if self.config.optim.ema is None else ema.start(state)


def assemble(
    config: ExperimentConfig,
    note: Note = lambda text: None,
    *,
    dataset: Dataset | None = None,
    starting: bool = True,
) -> Assembly:
    """Makes the data, normalisation, net, optimizer and initial values of a run of `config`.

    Args:
      config: the configuration of the run.
      note: called with each remark about the data, one line of text.
      dataset: the data set of `config.data`, if it is already loaded.
      starting: whether initial values are needed. If False, `finetune.weights` is read only for the normalisation. Pass
        False for a finished run, because its values come from its checkpoint.

    Raises:
      UserError: the data are missing or damaged.
      UserError: `model.num_classes` is neither None nor the number of classes of the data.
      UserError: the file of `finetune.weights` cannot be read, or its net differs from `config.model`.
      UserError: the net of `finetune.weights` takes images with another number of channels than the data have.
      UserError: `data.normalize` is "weights", and the net's mean image has another size than the images.
    """
    # Read before the data, so that a wrong file is reported before images are decoded.
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
    """Two random keys of a run: one for initial values, one for augmentation and noise."""
    initial, augmentation = jax.random.split(jax.random.key(seed))
    return initial, augmentation


def resolve(config: ModelConfig, dataset: Dataset) -> ModelConfig:
    """Returns `config` with the number of classes of the data as `num_classes`.

    Raises:
      UserError: `config.num_classes` is neither None nor the number of classes of the data.
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
    """The mean and standard deviation of a run's images. If `data.normalize` is "weights", `net` provides them.

    Raises:
      UserError: `net` takes images with another number of channels than `dataset` has.
      UserError: `data.normalize` is "weights", and the mean image of `net` has another size than the images.
    """
    channels = dataset.image_shape[2]
    if net is not None and channels != net.preprocessing.channels:
        # Images in files can be read in grey or in colour.
        files = config.data.source == "folder" or config.data.streamed
        readable = files and net.preprocessing.channels in (1, 3)
        remedy = f"; use --data.channels={net.preprocessing.channels}" if readable else ""
        raise UserError(
            f"finetune.weights: {net.facts.file} takes images of {net.preprocessing.channels} channels, but the images "
            f"of {dataset.name} have {channels}{remedy}."
        )
    if config.data.normalize != "weights":
        return normalization(dataset.train, config.data, note)
    assert net is not None, "checked by ExperimentConfig"
    found = net.preprocessing.normalization
    if any(size not in (1, whole) for size, whole in zip(found.mean.shape[1:], dataset.image_shape, strict=True)):
        raise UserError(
            f"data.normalize: got 'weights', but the mean image of {net.facts.file} has "
            f"{found.mean.shape[2]}x{found.mean.shape[1]} pixels and the images have "
            f"{dataset.image_shape[1]}x{dataset.image_shape[0]}; legal: images of that size, or 'channel_mean_std'."
        )
    return found
