"""Where a fine-tuned run starts: the net of a file, but for its last layer, which is new."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.data import Dataset, Normalization, normalization
from resnet_jax.errors import UserError
from resnet_jax.record import Start
from resnet_jax.training.state import TrainState
from resnet_jax.weights import files
from resnet_jax.weights.preprocessing import Preprocessing
from resnet_jax.weights.recognise import describe, unlike

Tree = Any
NEW = "head"


@dataclass(frozen=True)
class Pretrained:
    """A net to start from."""

    facts: Start
    variables: dict[str, Tree]
    """{"params": ..., "batch_stats": ...} on the host, its own last layer included."""
    preprocessing: Preprocessing

    def put_into(self, state: TrainState) -> TrainState:
        """A state before the first step, on the host, with this net's values in all but the last layer."""
        params = {**self.variables["params"], NEW: state.params[NEW]}
        new: TrainState = state.replace(params=params, batch_stats=self.variables["batch_stats"])
        return new


def pretrained(config: ExperimentConfig) -> Pretrained | None:
    """The net that `config.finetune` names; None where a run starts from random values.

    It needs no data, so that a wrong file is told before images are decoded.

    Raises:
      UserError: it cannot be read, or is another net than `config.model`.
    """
    if config.finetune.weights is None:
        return None
    try:
        weights = files.load(Path(config.finetune.weights))
    except UserError as error:
        raise UserError(f"finetune.weights: {error}") from None
    assert weights.model.num_classes is not None
    assert weights.read_from is not None
    facts = Start(weights.read_from.file, weights.read_from.digest, weights.model.num_classes)
    _require_alike(config.model, weights.model, facts.file)
    return Pretrained(facts, weights.variables(), weights.preprocessing)


def run_normalization(config: ExperimentConfig, dataset: Dataset, net: Pretrained | None) -> Normalization:
    """The statistics by which a run's images are normalised.

    Raises:
      UserError: the net takes images of other channels than the data's, or was trained with the mean image of another
        size.
    """
    channels = dataset.image_shape[2]
    if net is not None and channels != net.preprocessing.channels:
        raise UserError(
            f"finetune.weights: {net.facts.file} takes images of {net.preprocessing.channels} channels, those of "
            f"{dataset.name} have {channels}."
        )
    if config.data.normalize != "weights":
        return normalization(dataset.train, config.data)
    assert net is not None, "checked by ExperimentConfig"
    found = net.preprocessing.normalization
    if any(size not in (1, whole) for size, whole in zip(found.mean.shape[1:], dataset.image_shape, strict=True)):
        raise UserError(
            f"data.normalize: got 'weights', the mean image of {net.facts.file}, which is "
            f"{found.mean.shape[2]}x{found.mean.shape[1]} pixels, and the data's are "
            f"{dataset.image_shape[1]}x{dataset.image_shape[0]}; legal: images of that size, or 'channel_mean_std'."
        )
    return found


def _require_alike(here: ModelConfig, there: ModelConfig, file: str) -> None:
    other = {name: value for name, (_, value) in unlike(here, there).items()}
    if other:
        options = " ".join(f"--model.{name.replace('_', '-')}={value}" for name, value in other.items())
        raise UserError(
            f"finetune.weights: {file} holds {describe(there)}, another net than the run's; it takes {options}."
        )
