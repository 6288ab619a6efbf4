"""The pretrained net of a fine-tuning run, and the check that it fits the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_jax.config import ExperimentConfig, ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.record import Start
from resnet_jax.weights import files
from resnet_jax.weights.bundle import describe, unlike
from resnet_jax.weights.preprocessing import Preprocessing


@dataclass(frozen=True)
class Pretrained:
    """The pretrained net of a fine-tuning run: where it comes from, its variables and its preprocessing."""

    facts: Start
    variables: dict[str, Any]
    """{"params": ..., "batch_stats": ...} on the host, including the file's last layer."""
    preprocessing: Preprocessing


def pretrained(config: ExperimentConfig) -> Pretrained | None:
    """Reads the net of `config.finetune.weights`; None if the run starts from random values.

    Raises:
      UserError: the file cannot be read, or its net differs from `config.model`.
    """
    if config.finetune.weights is None:
        return None
    try:
        weights = files.load(Path(config.finetune.weights))
    except UserError as error:
        raise UserError(f"finetune.weights: {error}") from None
    assert weights.read_from is not None
    facts = Start(weights.read_from.file, weights.read_from.digest, weights.model.num_classes or 0)
    _require_same_net(config.model, weights.model, facts.file)
    return Pretrained(facts, weights.variables(), weights.preprocessing)


def _require_same_net(here: ModelConfig, there: ModelConfig, file: str) -> None:
    other = {name: value for name, (_, value) in unlike(here, there).items()}
    if other:
        options = " ".join(f"--model.{name.replace('_', '-')}{_option(value)}" for name, value in other.items())
        raise UserError(
            f"finetune.weights: {file} holds {describe(there)}, which is not the net of the run; use {options}."
        )


def _option(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "".join(f" {item}" for item in value)
    return f"={value}"
