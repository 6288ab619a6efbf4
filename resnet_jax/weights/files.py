"""A net from a file or folder, and into one.

The project's own form is a folder of two files: `model.safetensors`, all arrays under our names, and `config.json`,
what the net is, how it takes pictures, what its classes are called and where it came from. PyTorch's state dicts, in
torchvision's or akamaster's names, have none of that: it is recognised, or taken as their projects have it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from resnet_jax.config import from_dict
from resnet_jax.data import memory
from resnet_jax.errors import UserError
from resnet_jax.files import replacing, short_digest, write_atomically
from resnet_jax.record import RECORD_FILE, WEIGHTS, read_json
from resnet_jax.weights import pickled
from resnet_jax.weights.arrays import Arrays, Mismatch, counts, require_arrays, shapes
from resnet_jax.weights.bundle import Origin, Weights, describe, unlike, usual_classes, usual_preprocessing
from resnet_jax.weights.formats import format_for, recognise
from resnet_jax.weights.formats.base import BottleneckStride, Format, Found, unprefixed
from resnet_jax.weights.preprocessing import ARRAYS, from_json

MODEL_FILE, NET_FILE = "model.safetensors", "config.json"
FAMILY = "resnet_jax net"
FORMAT = f"{FAMILY} 1"
SAFETENSORS = ".safetensors"
PICKLED = (".pt", ".pth", ".th")


def load(place: Path, *, bottleneck_stride: BottleneckStride | None = None) -> Weights:
    """The net in a folder of our own form, in a finished run's directory, or in a state dict of PyTorch's.

    Args:
      place: the folder, or the file; its ending does not matter, its content does.
      bottleneck_stride: of a state dict, which does not tell it; None: "3x3", torchvision's.

    Raises:
      UserError: there is none, it is damaged, it would have to run code to be read, it is of no net known here, or its
        arrays are not those of the net that it says it is.
    """
    if place.is_dir():
        return _portable(_folder(place))
    beside = place.with_name(NET_FILE)
    # Other projects too call the two files so.
    if place.name == MODEL_FILE and beside.exists() and _format(beside).startswith(FAMILY):
        return _portable(place.parent)
    content = _read(place)
    state = unprefixed(_arrays(content, str(place)))
    there = {name: array.shape for name, array in state.items()}
    found = recognise(Found(there, str(place), bottleneck_stride))
    form, ours = found.format, shapes(found.model, found.channels)
    require_arrays(form.shapes(ours), form.shapes(counts(ours)), there, str(place), describe(found.model))
    origin = Origin(place.name, short_digest(content))
    return Weights(
        model=found.model,
        arrays=form.from_pytorch(state, (*ours, *counts(ours))),
        preprocessing=usual_preprocessing(found.model, found.channels),
        class_names=usual_classes(found.model),
        origin=origin,
        read_from=origin,
    )


def save(weights: Weights, folder: Path) -> None:
    """Writes a net in our own form, whole or not at all, in the place of one that was there.

    Raises:
      UserError: the folder is there and holds something else.
      OSError: it cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and {p.name for p in folder.iterdir()} <= {MODEL_FILE, NET_FILE}):
        raise UserError(f"{folder}: in the way, and not (only) a net of ours; choose another place.")
    content = safetensors.numpy.save({**weights.arrays, **weights.preprocessing.arrays()}, metadata={"format": FORMAT})
    values = {
        "format": FORMAT,
        "model": dataclasses.asdict(weights.model),
        "preprocessing": weights.preprocessing.to_json(),
        "class_names": weights.class_names,
        "origin": dataclasses.asdict(weights.origin),
        "digest": short_digest(content),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir()
        write_atomically(unfinished / MODEL_FILE, content)
        write_atomically(unfinished / NET_FILE, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def state_dict(weights: Weights) -> tuple[Format, Arrays]:
    """The net as a state dict of torchvision's or akamaster's nets.

    Raises:
      UserError: whoever reads these names would compute another net from them.
    """
    form = format_for(weights.model)
    state = form.to_pytorch(weights.arrays)
    theirs = unprefixed({name: array.shape for name, array in state.items()})
    stride = weights.model.bottleneck_stride if weights.model.block_kind == "bottleneck" else None
    other = unlike(weights.model, recognise(Found(theirs, weights.origin.file, stride)).model)
    if other:
        name, (here, there) = next(iter(other.items()))
        raise UserError(
            f"model.{name}: got {here!r}; legal for a state dict in {form.name}'s names: {there!r}; keep this net in "
            f"a folder, which says what it is."
        )
    return form, state


def export(weights: Weights, file: Path) -> Format:
    """Writes a net as PyTorch's state dict, to be had by torch.load or safetensors.torch.load_file.

    Args:
      file: ends in .safetensors, which needs no PyTorch, or in .pt, .pth or .th, which does.

    Raises:
      UserError: `state_dict` cannot be made, PyTorch is needed and missing, or the ending is another.
      OSError: it cannot be written.
    """
    form, state = state_dict(weights)
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == SAFETENSORS:
        write_atomically(file, safetensors.numpy.save(state, metadata={"format": "pt"}))
    elif file.suffix in PICKLED:
        _export_pickled(state, file)
    else:
        raise UserError(f"{file}: legal endings: {', '.join((SAFETENSORS, *PICKLED))}.")
    return form


def _export_pickled(state: Arrays, file: Path) -> None:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{file}: writing {file.suffix} needs PyTorch, which is not installed; {SAFETENSORS} needs none, and "
            f"PyTorch reads it with safetensors.torch.load_file."
        ) from None
    # Copies: PyTorch warns of arrays that cannot be written to.
    with replacing(file) as part:
        torch.save({name: torch.from_numpy(array.copy()) for name, array in state.items()}, part)


def _folder(place: Path) -> Path:
    """The folder of our own form that a folder is, or has as a finished run."""
    for folder in (place, place / WEIGHTS):
        if (folder / MODEL_FILE).exists():
            return folder
    if (place / RECORD_FILE).exists():
        raise UserError(
            f"{place}: a run of an earlier version, without {WEIGHTS}/; python -m experiments.convert {place} NET "
            f"makes a net of it."
        )
    raise UserError(f"{place}: holds neither {MODEL_FILE} nor a finished run with {WEIGHTS}/.")


def _portable(folder: Path) -> Weights:
    found = _format(folder / NET_FILE)
    if found != FORMAT:
        raise UserError(
            f"{folder / NET_FILE}: got the format {found!r}; legal: {FORMAT!r}; a state dict beside it is read where "
            f"the file itself is named."
        )
    values = read_json(folder / NET_FILE)
    content = _read(folder / MODEL_FILE)
    if short_digest(content) != values.get("digest"):
        raise UserError(
            f"{folder / MODEL_FILE}: not the file that {NET_FILE} was written with: damaged, truncated, or of another "
            f"net."
        )
    arrays = _arrays(content, str(folder / MODEL_FILE))
    try:
        model = from_dict({"model": values["model"]}).model
        statistics = {name: arrays.pop(name) for name in ARRAYS.values() if name in arrays}
        preprocessing = from_json(values["preprocessing"], statistics)
        origin = Origin(**values["origin"])
        if model.num_classes is None:
            raise UserError("model.num_classes: got None; legal: the number of classes.")
        ours = shapes(model, preprocessing.channels)
        there = {name: array.shape for name, array in arrays.items()}
        require_arrays(ours, counts(ours), there, str(folder / MODEL_FILE), describe(model))
        here = Origin(f"{folder.absolute().name}/{MODEL_FILE}", values["digest"])
        return Weights(model, arrays, preprocessing, tuple(map(str, values["class_names"])), origin, here)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / NET_FILE}: not as it is written here ({error!r}).") from None
    except Mismatch:
        raise
    except UserError as error:
        raise UserError(f"{folder / NET_FILE}: {error}") from None


def _format(file: Path) -> str:
    return str(read_json(file, "convert or train anew").get("format", ""))


def _read(file: Path) -> bytes:
    if not file.exists():
        raise UserError(f"{file}: there is no such file or folder.")
    if not file.is_file():
        raise UserError(f"{file}: not a file.")
    memory.require(file.stat().st_size, f"the arrays in {file}", "use a machine with more")
    content = file.read_bytes()
    if not content:
        raise UserError(f"{file}: empty (0 bytes).")
    return content


def _arrays(content: bytes, file: str) -> Arrays:
    """The arrays of a file, by the names that they have in it."""
    arrays = _parsed(content, file)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UserError(f"{file}: {name} holds numbers that are not finite: damaged, or of a net that diverged.")
    return arrays


def _parsed(content: bytes, file: str) -> Arrays:
    if pickled.is_pickled(content):
        return pickled.read(content, file)
    if content[8:9] != b"{":
        raise UserError(f"{file}: neither safetensors nor a file that torch.save wrote.")
    try:
        # The library gives them in another order each time.
        return dict(sorted(safetensors.numpy.load(content).items()))
    except SafetensorError as error:
        raise UserError(f"{file}: damaged or truncated ({error}).") from None
    except KeyError as error:
        raise UserError(f"{file}: has numbers of the kind {error}, which NumPy has not; save it in float32.") from None
