"""Finds the state dict in a training checkpoint, which may be a dictionary of dictionaries."""

from collections.abc import Mapping
from typing import Any, TypeVar

from resnet_jax.errors import UserError
from resnet_jax.text import Note

T = TypeVar("T")

# Usual keys of the state dict in a training checkpoint; the first key that the checkpoint has is used.
NESTED = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
ADVICE = "save it anew with torch.save(net.state_dict(), FILE)"


def choose(found: Any, file: str, kind: type[T], from_key: str | None, note: Note) -> Mapping[str, T]:
    """Finds the state dict of a file: the object in the file, or a dictionary inside this object.

    Args:
      found: the object in the file.
      file: name of the file, for messages.
      kind: type of the tensors in a state dict.
      from_key: the key of the state dict. With None or a prefix of names, the first of these that exists is chosen:
        the object itself, if it is a state dict; the state dict under a usual key, such as "state_dict" or "model"; the
        only state dict in the object.
      note: called with one sentence if there are several state dicts.

    Raises:
      UserError: there is no state dict.
      UserError: there are several state dicts, and none has a usual key.
      UserError: `from_key` is neither the key of a state dict nor a prefix of names.
    """
    if not isinstance(found, dict):
        raise UserError(f"{file}: holds {type(found).__name__}, not a state dict; {ADVICE}.")
    places = {"": found} | {key: value for key, value in found.items() if isinstance(key, str)}
    dicts = {key: tensors for key, value in places.items() if (tensors := _tensors(value, kind))}
    nested = [key for key in dicts if key]
    legal = ", ".join(map(repr, nested)) or "none, because no state dict is under a key"
    if from_key in dicts:
        return dicts[from_key]
    # `from_key` may be the prefix of names.
    if from_key is not None and not any(name.startswith(f"{from_key}.") for place in dicts.values() for name in place):
        raise UserError(f"from_key: got {from_key!r}; legal for {file}: {legal}.")
    if "" in dicts:
        return dicts[""]
    usual = [key for key in (*NESTED, *AVERAGED) if key in dicts] or (nested if len(nested) == 1 else [])
    if usual:
        others = [key for key in nested if key != usual[0]]
        if others:
            note(
                f"{file}: the net under {usual[0]!r} is used; other nets in the file: {', '.join(map(repr, others))} "
                f"(experiments.convert --from-key chooses)."
            )
        return dicts[usual[0]]
    if nested:
        raise UserError(f"{file}: several state dicts; choose one by experiments.convert --from-key; legal: {legal}.")
    there = ", ".join(map(str, list(found)[:5])) or "nothing"
    raise UserError(f"{file}: no state dict in it (it has {there}); {ADVICE}.")


def _tensors(place: Any, kind: type[T]) -> dict[str, T]:
    """The tensors of a state dict, which is a dictionary with dots in its names; {} for any other object."""
    if not isinstance(place, dict) or not all(isinstance(name, str) for name in place):
        return {}
    tensors = {name: value for name, value in place.items() if isinstance(value, kind)}
    return tensors if any("." in name for name in tensors) else {}
