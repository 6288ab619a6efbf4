"""Reads a net from a file or folder, and writes a folder.

This project stores a net as two files in a folder: `model.safetensors` has all arrays, and `config.json` has the
configuration, preprocessing, class names and origin. A PyTorch state dict has only arrays. Their names and shapes show
most of the configuration; the rest is assumed to be as in the original project.
"""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import safetensors.numpy

from resnet_jax.config import from_dict
from resnet_jax.errors import UserError
from resnet_jax.files import short_digest, write_atomically
from resnet_jax.record import RECORD_FILE, WEIGHTS, read_json
from resnet_jax.text import Note, some
from resnet_jax.weights import pickled
from resnet_jax.weights.arrays import Arrays, Mismatch, counts, require_arrays, shapes, shapes_of
from resnet_jax.weights.bundle import Origin, Weights, describe, usual_preprocessing
from resnet_jax.weights.classes import usual_classes
from resnet_jax.weights.content import arrays_of, content_of
from resnet_jax.weights.formats import BOOKKEEPING, recognise, wrapper_prefix
from resnet_jax.weights.formats.base import Found, Unsaid
from resnet_jax.weights.preprocessing import ARRAYS, from_json

MODEL_FILE, NET_FILE = "model.safetensors", "config.json"
FAMILY = "resnet_jax net"
FORMAT = f"{FAMILY} 1"
# The names on the Hugging Face hub.
HUB_PICKLES, PICTURES_FILE = ("pytorch_model.bin",), "preprocessor_config.json"


def load(
    place: Path | str,
    *,
    unsaid: Unsaid = Unsaid(),  # noqa: B008  # frozen
    from_key: str | None = None,
    ignore_extra: bool = False,
    note: Note = lambda text: None,
) -> Weights:
    """Reads a net. The content of the file or folder decides how it is read, not the ending of its name.

    Args:
      place: the file of a PyTorch state dict, or a folder. Three kinds of folder are read: a folder that `save` wrote,
        the directory of a finished run, and a download from the Hugging Face hub (weights, config.json,
        preprocessor_config.json).
      unsaid: properties that a state dict does not contain.
      from_key: in a checkpoint with several nets, the key of the net, or the prefix of its names.
      ignore_extra: whether to ignore arrays of a state dict that do not belong to the net; `note` lists them.
      note: called with each remark, one line of text.

    Raises:
      UserError: the file is missing or damaged, or reading it would run code.
      UserError: the net in the file is unknown, or the arrays in the file do not fit the net.
    """
    place = Path(place).expanduser()
    if place.is_dir():
        folder = _folder(place)
        values = _json(folder / NET_FILE)
        if (folder / MODEL_FILE).exists() and _is_ours(values):
            return _portable(folder, values)
        file = next(folder / name for name in (MODEL_FILE, *HUB_PICKLES) if (folder / name).exists())
        if not _is_hubs(values):
            got = values.get("format", "")
            raise UserError(
                f"{folder / NET_FILE}: got the format {got!r}; legal: {FORMAT!r}. A config.json of timm or "
                f"transformers is read too. To read a state dict in this folder, give the path of the state dict."
            )
    else:
        file = place
        beside = file.with_name(NET_FILE)
        # Other projects use the same names for the two files.
        if file.name == MODEL_FILE and beside.exists() and _is_ours(values := _json(beside)):
            return _portable(file.parent, values)
    content = content_of(file)
    arrays = arrays_of(content, str(file), from_key=from_key, note=note)
    if pickled.is_pickled(content) and not any(name.startswith(f"{from_key}.") for name in arrays):
        from_key = None  # it was the key of a dictionary, so it is not a prefix
    state = _unwrapped(arrays, str(file), from_key, note)
    config, preprocessor = _beside(file, note)
    form, facts = recognise(Found(shapes_of(state), str(file), unsaid, config, preprocessor))
    ours = shapes(facts.model, facts.channels)
    needed, optional = form.shapes(ours), form.shapes({**ours, **counts(ours)})
    extra = [name for name in state if name not in needed and name not in optional]
    if extra and ignore_extra:
        note(f"{file}: {len(extra)} arrays do not belong to the net and are ignored: {some(extra)}.")
        state = {name: array for name, array in state.items() if name not in extra}
    require_arrays(needed, optional, shapes_of(state), str(file), describe(facts.model))
    origin = Origin(file.name if file == place else f"{place.absolute().name}/{file.name}", short_digest(content))
    try:
        return Weights(
            model=facts.model,
            arrays=form.from_pytorch(state, (*ours, *counts(ours))),
            preprocessing=facts.preprocessing or usual_preprocessing(facts.model, facts.channels),
            class_names=usual_classes(facts.model) if facts.class_names is None else facts.class_names,
            origin=origin,
            read_from=origin,
        )
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def save(weights: Weights, folder: Path) -> None:
    """Writes a net to a folder, completely or not at all. Replaces an older net in the folder.

    Raises:
      UserError: the folder exists and has other files.
      OSError: the folder cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and {p.name for p in folder.iterdir()} <= {MODEL_FILE, NET_FILE}):
        raise UserError(f"{folder}: exists, and is not the folder of a net; choose another folder.")
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


def _folder(place: Path) -> Path:
    """The folder with weights: `place` or, for a finished run, its subfolder weights/."""
    for folder in (place, place / WEIGHTS):
        if any((folder / name).exists() for name in (MODEL_FILE, *HUB_PICKLES)):
            return folder
    if (place / RECORD_FILE).exists():
        raise UserError(
            f"{place}: a run of an earlier version of this project, without {WEIGHTS}/; to write its net to a new "
            f"folder, use `python -m experiments.convert {place} FOLDER`."
        )
    raise UserError(f"{place}: holds neither {MODEL_FILE} nor a finished run with {WEIGHTS}/.")


def _unwrapped(arrays: Arrays, file: str, from_key: str | None, note: Note) -> Arrays:
    """Removes the prefix that a wrapper, such as DataParallel, put before the names of a net."""
    prefix = wrapper_prefix(arrays, file, from_key)
    if prefix is None:
        return arrays
    inside = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    outside = {name: array for name, array in arrays.items() if not name.startswith(prefix)}
    for name in sorted(BOOKKEEPING & arrays.keys()):
        note(f"{file}: {name}, the number of averaged nets, is ignored.")
        inside.pop(name, None)
        outside.pop(name, None)
    if from_key is not None:
        outside = {}  # the other nets
    return inside | {name if name not in inside else f"{name} (outside {prefix})": a for name, a in outside.items()}


def _portable(folder: Path, values: dict[str, Any]) -> Weights:
    if values.get("format") != FORMAT:
        raise UserError(f"{folder / NET_FILE}: got the format {values.get('format')!r}; legal: {FORMAT!r}.")
    content = content_of(folder / MODEL_FILE)
    if short_digest(content) != values.get("digest"):
        raise UserError(
            f"{folder / MODEL_FILE}: does not belong to the {NET_FILE} beside it; it is damaged, truncated or another "
            f"net's."
        )
    arrays = arrays_of(content, str(folder / MODEL_FILE))
    try:
        model = from_dict({"model": values["model"]}).model
        statistics = {name: arrays.pop(name) for name in ARRAYS.values() if name in arrays}
        preprocessing = from_json(values["preprocessing"], statistics)
        origin = Origin(**values["origin"])
        if sum(model.stage_blocks) > len(arrays):  # checked first, because a depth of millions would take long
            raise UserError(
                f"model.depth: got {model.depth}; legal: the depth of the net in {MODEL_FILE}, which has only "
                f"{len(arrays)} arrays."
            )
        ours = shapes(model, preprocessing.channels)
        require_arrays(ours, counts(ours), shapes_of(arrays), str(folder / MODEL_FILE), describe(model))
        here = Origin(f"{folder.absolute().name}/{MODEL_FILE}", values["digest"])
        return Weights(model, arrays, preprocessing, tuple(map(str, values["class_names"])), origin, here)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"{folder / NET_FILE}: not a file of this project ({error!r}).") from None
    except Mismatch:
        raise
    except UserError as error:
        raise UserError(f"{folder / NET_FILE}: {error}") from None


def _json(file: Path) -> dict[str, Any]:
    try:
        return read_json(file, "convert or train anew")
    except RecursionError:
        raise UserError(f"{file}: damaged (too deeply nested); convert or train anew.") from None


def _is_ours(values: dict[str, Any]) -> bool:
    return str(values.get("format", "")).startswith(FAMILY)


def _is_hubs(values: dict[str, Any]) -> bool:
    """Whether a config.json belongs to a net of timm, or to a ResNet of transformers."""
    return "pretrained_cfg" in values or values.get("model_type") == "resnet"


def _beside(file: Path, note: Note) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Reads config.json and preprocessor_config.json of timm or transformers, in the folder of a file."""
    # If one of them is damaged, the other is used.
    config, pictures = (_undamaged(file.with_name(name), note) for name in (NET_FILE, PICTURES_FILE))
    if config is not None and not _is_hubs(config):
        return None, None
    return config, pictures


def _undamaged(file: Path, note: Note) -> dict[str, Any] | None:
    """The values of a JSON file; None if it is missing or damaged. Calls `note` if it is damaged."""
    try:
        return _json(file) if file.exists() else None
    except UserError as error:
        note(f"{error} The net is read without it.")
        return None
