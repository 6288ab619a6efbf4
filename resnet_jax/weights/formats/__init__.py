"""Formats of PyTorch state dicts, a module each. A new format is one more module here, with a `FORMAT`."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

from resnet_jax.config import ModelConfig
from resnet_jax.data.listing import some
from resnet_jax.errors import UserError
from resnet_jax.weights.formats.base import Format, Found


@dataclass(frozen=True)
class Recognised:
    """The format of a state dict, and its net."""

    format: Format
    model: ModelConfig
    channels: int
    """Of the images."""


def formats() -> list[Format]:
    """All formats, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    return [importlib.import_module(f"{__name__}.{name}").FORMAT for name in names]


def recognise(found: Found) -> Recognised:
    """The net whose state dict has these names and shapes; whether all of them are there is not looked at.

    Depth, units, width, classes and channels are told from the names and shapes, the family from the number of stages.
    What no shape tells is taken as the format's project has it.

    Raises:
      UserError: they are of no net that is known here.
    """
    for form in formats():
        if told := form.net(found):
            return Recognised(form, told.model, told.channels)
    raise UserError(
        f"{found.file}: no net of torchvision's resnet18 to resnet152 or akamaster's resnet20 to resnet1202; it holds "
        f"{some(sorted(found.shapes))}."
    )


def format_for(model: ModelConfig) -> Format:
    """The format that nets of this family are exported in."""
    return next(form for form in formats() if form.writes(model))
