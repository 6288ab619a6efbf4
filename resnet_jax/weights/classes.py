"""Names of classes: those of published nets, and which class of a net a folder's name stands for."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from resnet_jax.config import ModelConfig
from resnet_jax.errors import UserError
from resnet_jax.text import composed, some

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ORDER = "order"
# How many of a net's 1,000 names must be ImageNet's, each in its place, for WordNet IDs to stand for its classes.
# Projects differ in few of them: torchvision and the original list in two.
IMAGENET_AGREES = 900


@dataclass(frozen=True)
class Matched:
    """Which class of a net each name stands for."""

    numbers: tuple[int, ...]
    """The class of each name, in the order of the names."""
    rule: str
    """How they were matched: "name", "WordNet ID", "number", "order" or "file"."""


class Unmatched(UserError):
    """Names that do not stand for classes of a net; `names` and `classes` are the two lists."""

    def __init__(self, message: str, names: Sequence[str], classes: Sequence[str]) -> None:
        super().__init__(message)
        self.names, self.classes = tuple(names), tuple(classes)


@functools.cache
def imagenet() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """WordNet IDs of ImageNet's 1,000 classes, in order, and torchvision's names of the classes."""
    text = resources.files("resnet_jax.weights").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    ids, names = zip(*(line.split(" ", 1) for line in text.splitlines()), strict=True)
    return ids, names


def usual_classes(model: ModelConfig) -> tuple[str, ...]:
    """The classes that published nets of this family and number of classes have; else "0", "1", ...; () without a head.

    ImageNet's are in the order of their WordNet IDs, under the names that torchvision gives them.
    """
    if model.family == "imagenet" and model.num_classes == len(imagenet()[0]):
        return imagenet()[1]
    if model.family == "cifar" and model.num_classes == len(CIFAR10_CLASSES):
        return CIFAR10_CLASSES
    return tuple(map(str, range(model.num_classes or 0)))


def match(names: Sequence[str], classes: Sequence[str], what: str, net: str, labels: str | None = None) -> Matched:
    """Finds the class of a net that each name stands for.

    The first rule that fits all names decides: the name of a class (in composed Unicode), the WordNet ID of one of
    ImageNet's classes, where the net's classes are ImageNet's, and the whole number of a class, counted from 0.

    Args:
      names: of class folders, each once.
      classes: the net's names of its classes, in order.
      what, net: the folder and the net, for messages.
      labels: overrides the rules. "order": the names stand for the classes in this order. Else a text file with a line
        "name = class" for each name, where the class is a name or a number.

    Raises:
      Unmatched: the names do not stand for classes of the net.
      UserError: the file cannot be read, or lacks a name.
    """
    if labels == ORDER:
        if len(names) != len(classes):
            raise Unmatched(
                f"labels: got 'order' for the {len(names):,} folders of {what}; legal: as many as the {len(classes):,} "
                f"classes of {net}.",
                names,
                classes,
            )
        return Matched(tuple(range(len(classes))), ORDER)
    if labels is not None:
        given = _read(Path(labels).expanduser(), names)
        # One by one: several folders may be one class, and names may stand beside numbers.
        found = (_matched([given[name]], classes, f"labels: {labels}", net).numbers[0] for name in names)
        return Matched(tuple(found), "file")
    return _matched(names, classes, what, net)


def _matched(names: Sequence[str], classes: Sequence[str], what: str, net: str) -> Matched:
    own = [composed(name) for name in classes]
    twice = {name for name, count in Counter(own).items() if count > 1}
    by_name = {name: number for number, name in enumerate(own) if name not in twice}
    rules = {"name": by_name}
    if _is_imagenet(own):
        rules["WordNet ID"] = {name: number for number, name in enumerate(imagenet()[0])}
    wanted = [composed(name) for name in names]
    for rule, numbers in rules.items():
        if all(name in numbers for name in wanted):
            return Matched(tuple(numbers[name] for name in wanted), rule)
    if all(name.isascii() and name.isdecimal() and int(name) < len(own) for name in wanted):
        found = tuple(map(int, wanted))
        if len(set(found)) == len(found):  # "1" and "01" would be one class
            return Matched(found, "number")
    unknown = [name for name in wanted if not any(name in numbers for numbers in rules.values())] or wanted
    raise Unmatched(
        f"{what}: its class {unknown[0]} is none of {net}'s: {some(own)}; --labels FILE says which class each folder "
        f"is, a line 'folder = class' for each; --labels order takes the classes in the order of the folders' names.",
        names,
        classes,
    )


def _is_imagenet(classes: Sequence[str]) -> bool:
    """Whether a net's classes are ImageNet's in their order, whatever project named them.

    Several lists give a class all its synonyms, such as "tench, Tinca tinca".
    """
    ids, names = imagenet()
    if len(classes) != len(ids):
        return False
    agree = (
        name.casefold() in [part.strip().casefold() for part in (given, *given.split(","))]
        for given, name in zip(classes, names, strict=True)
    )
    return sum(agree) >= IMAGENET_AGREES or tuple(classes) == ids


def _read(file: Path, names: Sequence[str]) -> dict[str, str]:
    """The class of each name, from a file of lines "name = class"."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise UserError(f"labels: {file} is not text; legal: a text file with a line 'folder = class' each.") from None
    given = {}
    for line in filter(None, lines):
        name, sign, value = (part.strip() for part in line.partition("="))
        if not (sign and name and value):
            raise UserError(f"labels: {file} has the line {line!r}; legal: 'folder = class'.")
        given[composed(name)] = value
    missing = [name for name in names if composed(name) not in given]
    if missing:
        raise UserError(
            f"labels: {file} says nothing of {some(missing)}; legal: a line 'folder = class' for each folder."
        )
    return {name: given[composed(name)] for name in names}
