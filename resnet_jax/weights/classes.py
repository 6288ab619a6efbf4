"""Class names of published nets, and the search for the class that belongs to each folder of images."""

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
# A net has ImageNet's classes if so many of its 1,000 names are ImageNet's, at their positions. Not all need to be,
# because lists of names differ slightly.
IMAGENET_AGREES = 900


@dataclass(frozen=True)
class Matched:
    """The result of `match`: the class of a net for each folder name."""

    numbers: tuple[int, ...]
    """The number of each class, in the order of the folder names."""
    rule: str
    """The rule that matched the names: "name", "WordNet ID", "number", "order" or "file"."""


class Unmatched(UserError):
    """Folder names do not match the classes of a net. `names` and `classes` are the two lists."""

    def __init__(self, message: str, names: Sequence[str], classes: Sequence[str]) -> None:
        super().__init__(message)
        self.names, self.classes = tuple(names), tuple(classes)


@functools.cache
def imagenet() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The WordNet IDs of ImageNet's 1,000 classes, in rising order, and torchvision's names of the classes."""
    text = resources.files("resnet_jax.weights").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    ids, names = zip(*(line.split(" ", 1) for line in text.splitlines()), strict=True)
    return ids, names


def usual_classes(model: ModelConfig) -> tuple[str, ...]:
    """The class names of published nets with this family and number of classes: ImageNet's or CIFAR-10's.

    For other numbers of classes, they are "0", "1", ... A net without a last layer has no class names: ().
    """
    if model.family == "imagenet" and model.num_classes == len(imagenet()[0]):
        return imagenet()[1]
    if model.family == "cifar" and model.num_classes == len(CIFAR10_CLASSES):
        return CIFAR10_CLASSES
    return tuple(map(str, range(model.num_classes or 0)))


def match(names: Sequence[str], classes: Sequence[str], what: str, net: str, labels: str | None = None) -> Matched:
    """Finds the class of a net for each folder name.

    The first of these rules that fits all folder names is used:

    - each folder name is a class name; both are compared in Unicode's composed form, NFC;
    - each is a WordNet ID, and the net has ImageNet's classes;
    - each is the number of a class, from 0.

    Args:
      names: names of class folders, without repetitions.
      classes: the net's class names, in order.
      what, net: descriptions of the parent folder and of the net, for messages.
      labels: None: the rules above. "order": the first name belongs to the first class, and so on. Any other text is
        the path of a text file that has a line "name = class" for each name. The class is a class name, a WordNet ID or
        a number, as in the rules.

    Raises:
      Unmatched: the names do not match the classes of the net.
      UserError: the file of `labels` cannot be read, or has no line for a name.
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
        # Each name alone, because several folders may have the same class, and the file may mix names and numbers.
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
        if len(set(found)) == len(found):  # not both "1" and "01"
            return Matched(found, "number")
    unknown = [name for name in wanted if not any(name in numbers for numbers in rules.values())] or wanted
    raise Unmatched(
        f"{what}: {unknown[0]} is not a class of {net} ({some(own)}); use --labels FILE with a line "
        f"'folder = class' for each folder, or --labels order, which takes folders and classes in order.",
        names,
        classes,
    )


def _is_imagenet(classes: Sequence[str]) -> bool:
    """Whether a net has ImageNet's classes, in order. A name may list synonyms, such as "tench, Tinca tinca"."""
    ids, names = imagenet()
    if len(classes) != len(ids):
        return False
    agree = (
        name.casefold() in [part.strip().casefold() for part in (given, *given.split(","))]
        for given, name in zip(classes, names, strict=True)
    )
    return sum(agree) >= IMAGENET_AGREES or tuple(classes) == ids


def _read(file: Path, names: Sequence[str]) -> dict[str, str]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise UserError(f"labels: {file} is not text; legal: a text file with lines 'folder = class'.") from None
    given = {}
    for line in filter(None, lines):
        name, sign, value = (part.strip() for part in line.partition("="))
        if not (sign and name and value):
            raise UserError(f"labels: {file} has the line {line!r}; legal: 'folder = class'.")
        given[composed(name)] = value
    missing = [name for name in names if composed(name) not in given]
    if missing:
        raise UserError(
            f"labels: {file} has no line for {some(missing)}; legal: a line 'folder = class' for each folder."
        )
    return {name: given[composed(name)] for name in names}
