"""Formats of PyTorch state dicts, a module each. A new format is one more module here, with a `FORMAT`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.text import nearest, some
from resnet_jax.weights.formats.base import Format, Found, Told

# An entry that averaging of weights adds beside a net's arrays; no net needs it.
BOOKKEEPING = frozenset(["n_averaged"])


def formats() -> dict[str, Format]:
    """All formats, by name."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    found = [importlib.import_module(f"{__name__}.{module}").FORMAT for module in modules]
    return {form.name: form for form in found}


def wrapper_prefix(names: Iterable[str], file: str, wanted: str | None = None) -> str | None:
    """The prefix that a wrapper, such as DataParallel, torch.compile or Lightning, put before each name of a net.

    Args:
      names: names of the state dict.
      file: name of the file, for messages.
      wanted: prefix of the net to choose from several nets, without its last dot.

    Returns:
      The prefix; "" without a prefix; None if the names are of no known net.

    Raises:
      UserError: there are several nets, or the wanted net is missing.
    """
    names = list(names)
    found = sorted({prefix for form in formats().values() for prefix in form.prefixes(names)})
    legal = ", ".join(repr(prefix.removesuffix(".")) for prefix in found if prefix) or "none"
    if wanted is not None:
        if f"{wanted}." not in found:
            raise UserError(f"from_key: got {wanted!r}; legal for {file}: {legal}.")
        return f"{wanted}."
    if len(found) > 1:
        raise UserError(f"{file}: holds several nets; experiments.convert --from-key chooses; legal: {legal}.")
    return found[0] if found else None


def recognise(found: Found) -> tuple[Format, Told]:
    """The format of a state dict, and its net. Does not check that all arrays of the net are there.

    Names and shapes give depth, units, width, classes and channels. Other properties come from `found.config`, or are
    the defaults of the format's project.

    Raises:
      UserError: the names and shapes are of no known net.
    """
    for form in formats().values():
        if form.claims(found):
            return form, form.net(found)
    raise UserError(
        f"{found.file}: not a known net; known are ResNet-18 to 152 of torchvision, timm and transformers, and "
        f"resnet20 to resnet1202 of akamaster; it holds {some(sorted(found.shapes)) or 'no array'}."
    )


def format_for(model: ModelConfig, name: str | None = None) -> Format:
    """A format by its name; None: the usual format for nets of this family.

    Raises:
      UserError: there is no such format.
    """
    there = formats()
    if name is None:
        return next(form for form in there.values() if form.family == model.family)
    if name not in there:
        raise UserError(f"format: got {name!r}; {nearest(name, list(there))}")
    return there[name]
