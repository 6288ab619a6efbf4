"""Writes a net as a PyTorch state dict, with the names of another project."""

import contextlib
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors.numpy

from resnet_jax.config import BatchNormConfig
from resnet_jax.errors import UserError
from resnet_jax.files import replacing, write_atomically
from resnet_jax.weights.arrays import Array, Arrays
from resnet_jax.weights.bundle import Weights, essentials, unlike
from resnet_jax.weights.formats import format_for
from resnet_jax.weights.formats.base import Format, Found, Unsaid

SAFETENSORS = ".safetensors"
PICKLED = (".pt", ".pth", ".th")


def state_dict(weights: Weights, format_name: str | None = None) -> tuple[Format, Arrays, tuple[str, ...]]:
    """Converts a net to a PyTorch state dict with the names of another project.

    Args:
      format_name: name of a format of weights/formats. None: torchvision for ImageNet nets, akamaster for CIFAR nets.

    Returns:
      The format.
      The state dict: arrays in PyTorch's layouts, by the names that the other project uses.
      Remarks about changes of the net, and about properties that a state dict does not contain.

    Raises:
      UserError: there is no format `format_name`.
      UserError: no net of that project computes the same function as this net.
    """
    form = format_for(weights.model, format_name)
    model, arrays, notes = form.writable(weights.model, weights.arrays)
    state = form.to_pytorch(arrays)
    unsaid = Unsaid(model.bottleneck_stride if model.block_kind == "bottleneck" else None, model.norm.epsilon)
    plain = {name.removeprefix(form.usual_prefix): array.shape for name, array in state.items()}
    legal = {"family": form.holds}
    with contextlib.suppress(UserError):
        other = unlike(model, form.net(Found(plain, weights.origin.file, unsaid)).model)
        legal = {name: repr(there) for name, (_, there) in other.items()}
    if legal:
        name = next(iter(legal))
        here = essentials(model)[name] if name != "family" else model.family
        raise UserError(
            f"model.{name}: got {here!r}; legal: {legal[name]}, in a state dict of {form.name}; write this net to a "
            f"folder."
        )
    if model.norm.epsilon != BatchNormConfig().epsilon:
        notes += (f"its batch norms have epsilon={model.norm.epsilon:g}, which a state dict does not contain",)
    if unsaid.bottleneck_stride == "1x1":
        notes += (
            "its bottlenecks have their stride on the first 1x1 convolution, which a state dict does not contain",
        )
    return form, state, notes


def export(weights: Weights, file: Path, format_name: str | None = None) -> tuple[Format, tuple[str, ...]]:
    """Writes a net as a PyTorch state dict, for torch.load or safetensors.torch.load_file.

    Args:
      file: a path that ends in .safetensors or, if PyTorch is installed, in .pt, .pth or .th.
      format_name: see `state_dict`.

    Returns:
      The format, and remarks about properties that the file does not contain.

    Raises:
      UserError: `state_dict` fails, PyTorch is missing, or the path has another ending.
      OSError: the file cannot be written.
    """
    form, state, notes = state_dict(weights, format_name)
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == SAFETENSORS:
        write_atomically(file, safetensors.numpy.save(state, metadata={"format": "pt"}))
    elif file.suffix in PICKLED:
        _export_pickled(state, file)
    else:
        raise UserError(f"{file}: got the ending {file.suffix!r}; legal: {', '.join((SAFETENSORS, *PICKLED))}.")
    return form, notes


def _export_pickled(state: Arrays, file: Path) -> None:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{file}: writing {file.suffix} needs PyTorch, which is not installed; {SAFETENSORS} files can be written "
            f"without it, and PyTorch reads them with safetensors.torch.load_file."
        ) from None

    def tensor(array: Array) -> torch.Tensor:
        if array.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
        return torch.from_numpy(array.copy())  # a copy, because PyTorch warns about read-only arrays

    with replacing(file) as part:
        torch.save({name: tensor(array) for name, array in state.items()}, part)
