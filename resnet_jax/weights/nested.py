"""Which of the dictionaries in a training checkpoint is the state dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from resnet_jax.errors import UserError
from resnet_jax.text import Note

T = TypeVar("T")

# Where training scripts keep the state dict in a larger checkpoint, the first that is there is taken.
NESTED = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
ADVICE = "save it anew with torch.save(net.state_dict(), FILE)"


def choose(found: Any, file: str, kind: type[T], from_key: str | None, note: Note) -> Mapping[str, T]:
    """The state dict that an object is, or has under a key.

    Args:
      found: the object of a file.
      file: name of the file, for messages.
      kind: the type of a tensor.
      from_key: the wanted key, or the prefix of names; None: the first of `NESTED` and `AVERAGED`.
      note: called with a remark if there are several nets.

    Raises:
      UserError: there is no net, there are several without a usual name, or `from_key` is no key and no prefix.
    """
    if not isinstance(found, dict):
        raise UserError(f"{file}: holds {type(found).__name__}, not a state dict; {ADVICE}.")
    places = {"": found} | {key: value for key, value in found.items() if isinstance(key, str)}
    dicts = {key: tensors for key, value in places.items() if (tensors := _tensors(value, kind))}
    nested = [key for key in dicts if key]
    legal = ", ".join(map(repr, nested)) or "none, for it holds no nested state dict"
    if from_key in dicts:
        return dicts[from_key]
    # It may be the prefix of names instead.
    if from_key is not None and not any(name.startswith(f"{from_key}.") for place in dicts.values() for name in place):
        raise UserError(f"from_key: got {from_key!r}; legal for {file}: {legal}.")
    if "" in dicts:
        return dicts[""]
    usual = [key for key in (*NESTED, *AVERAGED) if key in dicts] or (nested if len(nested) == 1 else [])
    if usual:
        others = [key for key in nested if key != usual[0]]
        if others:
            note(
                f"{file}: the net under {usual[0]!r} is taken; also there: {', '.join(map(repr, others))} "
                f"(experiments.convert --from-key chooses)."
            )
        return dicts[usual[0]]
    if nested:
        raise UserError(f"{file}: several state dicts; experiments.convert --from-key chooses; legal: {legal}.")
    there = ", ".join(map(str, list(found)[:5])) or "nothing"
    raise UserError(f"{file}: no state dict in it, nor under {', '.join(NESTED)} (it holds {there}); {ADVICE}.")


def _tensors(place: Any, kind: type[T]) -> dict[str, T]:
    """The tensors of a state dict; none where an object is no state dict, whose names have dots."""
    if not isinstance(place, dict) or not all(isinstance(name, str) for name in place):
        return {}
    tensors = {name: value for name, value in place.items() if isinstance(value, kind)}
    return tensors if any("." in name for name in tensors) else {}
