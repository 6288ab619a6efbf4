"""Formats of PyTorch state dicts, one module for each project. A new format is a new module here with a `FORMAT`."""

import importlib
import pkgutil
from collections.abc import Iterable

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.text import nearest, some
from resnet_jax.weights.formats.base import Format, Found, NetFacts

# Names that torch.optim.swa_utils adds to a net's arrays; they are ignored.
BOOKKEEPING = frozenset(["n_averaged"])


def formats() -> dict[str, Format]:
    """All formats, by name."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    found = [importlib.import_module(f"{__name__}.{module}").FORMAT for module in modules]
    return {form.name: form for form in found}


def wrapper_prefix(names: Iterable[str], file: str, wanted: str | None = None) -> str | None:
    """The prefix that a wrapper, such as DataParallel, torch.compile or Lightning, put before each name of a net.

    Args:
      names: names of the arrays in a state dict.
      wanted: the prefix of one of several nets, without its last dot; None if the state dict has only one net.

    Returns:
      The prefix, "" if there is none, or None if the state dict has no known net.

    Raises:
      UserError: there are several nets and `wanted` is None, or no net has the prefix `wanted`.
    """
    names = list(names)
    found = sorted({prefix for form in formats().values() for prefix in form.prefixes(names)})
    legal = ", ".join(repr(prefix.removesuffix(".")) for prefix in found if prefix) or "none"
    if wanted is not None:
        if f"{wanted}." not in found:
            raise UserError(f"from_key: got {wanted!r}; legal for {file}: {legal}.")
        return f"{wanted}."
    if len(found) > 1:
        raise UserError(f"{file}: holds several nets; choose one by experiments.convert --from-key; legal: {legal}.")
    return found[0] if found else None


def recognise(found: Found) -> tuple[Format, NetFacts]:
    """Finds the format of a state dict and the configuration of its net. Does not check that all arrays are there.

    Names and shapes show depth, kind of block, width, classes and channels. Other properties come from `found.config`,
    or are the defaults of the format's project.

    Raises:
      UserError: no known net has these names and shapes.
    """
    for form in formats().values():
        if form.claims(found):
            return form, form.net(found)
    raise UserError(
        f"{found.file}: not a known net; legal: ResNet-18 to 152 of torchvision, timm and transformers, and resnet20 "
        f"to resnet1202 of akamaster; the file has the arrays {some(sorted(found.shapes)) or '(none)'}."
    )


def format_for(model: ModelConfig, name: str | None = None) -> Format:
    """The format with this name; if `name` is None, the default format for the model's family.

    Raises:
      UserError: there is no such format.
    """
    there = formats()
    if name is None:
        return next(form for form in there.values() if form.family == model.family)
    if name not in there:
        raise UserError(f"format: got {name!r}; {nearest(name, list(there))}")
    return there[name]
