"""What is compiled for a run, once for all tests of a file."""

from typing import Any

import jax

from resnet_jax.config import ExperimentConfig
from resnet_jax.text import Note
from resnet_jax.training.program import Program, prepare

_prepared: dict[Any, Program] = {}


def prepare_once(config: ExperimentConfig, note: Note = lambda text: None, **rest: Any) -> Program:
    """`prepare`, or what it gave for the same configuration; every time anew for one that reads files."""
    if config.data.source != "digits" or config.finetune.weights is not None or rest.get("dataset") is not None:
        return prepare(config, note, **rest)
    key = (config, bool(jax.config.jax_enable_x64), tuple(rest.items()))
    if key not in _prepared:
        _prepared[key] = prepare(config, note, **rest)
    return _prepared[key]


def forget() -> None:
    """At the end of a file: compiled programs take memory."""
    _prepared.clear()
