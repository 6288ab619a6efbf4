"""The errors of a net, of one's own or a published one, on a folder of pictures in class folders.

    python -m experiments.evaluate --weights resnet20.th cifar10/test

FOLDER holds <class>/<image>, its classes called as the net calls them; a net with as many classes and none of these
names takes them in the order of the folders' names, as torchvision's nets take ImageNet's. Pictures become what the net
was trained on as in classify; one that cannot be read gets a sentence, does not count, and the exit status is 2.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from experiments import cli
from experiments.classify import list_images
from resnet_jax.data.listing import shown, some
from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically

TOP = 5


@dataclass(frozen=True)
class Evaluate:
    """A net, and the pictures whose classes it is to find."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Pictures in class folders."""
    weights: Path
    """The net: a folder written by experiments.convert, a finished run's directory, or a PyTorch state dict."""
    out: Path | None = None
    """JSON file for the numbers."""
    compiled: Path = Path("runs")
    """Folder whose compiled programs to use."""


def main(argv: list[str] | None = None) -> int:
    """Parses, looks at every picture, prints the errors; returns the exit status."""
    chosen = tyro.cli(Evaluate, args=argv, prog="python -m experiments.evaluate", description=__doc__)
    classes = class_folders(chosen.folder)
    # Imported here: JAX takes a second, which --help and a typo should not.
    from resnet_jax.weights import files
    from resnet_jax.weights.classifier import Classifier, Seen

    weights = files.load(chosen.weights)
    numbers = class_numbers(
        [folder.name for folder in classes], weights.class_names, chosen.folder, str(chosen.weights)
    )
    labelled = [(path, n) for folder, n in zip(classes, numbers, strict=True) for path in list_images((folder,))]
    cli.use_compilation_cache(chosen.compiled)
    first = among = count = 0
    results = Classifier(weights).see([path for path, _ in labelled])
    for result, (_, label) in zip(results, labelled, strict=True):
        if isinstance(result, Seen):
            rank = int((-result.probabilities).argsort(kind="stable").tolist().index(label))
            first, among, count = first + (rank > 0), among + (rank >= TOP), count + 1
        else:
            print(f"error: {shown(result.path)} cannot be read as an image: {result.reason}.", file=sys.stderr)
    if not count:
        raise UserError(f"{chosen.folder}: no image of it can be read.")
    Console(highlight=False, markup=False, soft_wrap=True).print(
        f"{chosen.weights} on {count:,} images of {chosen.folder}: error {first / count:.2%}, "
        f"not among the first {TOP}: {among / count:.2%}"
    )
    if chosen.out is not None:
        source = weights.read_from or weights.origin
        values = {"file": source.file, "digest": source.digest, "images": count}
        values |= {"error": first / count, f"top{TOP}_error": among / count}
        write_atomically(chosen.out, json.dumps(values, indent=1) + "\n")
    return cli.OK if count == len(labelled) else cli.BAD_INPUT


def class_folders(folder: Path) -> list[Path]:
    """The folders of classes, by name.

    Raises:
      UserError: there are none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'there is no such folder'}.")
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise UserError(f"{folder}: a folder without class folders; needed: <class>/<image>.")
    return found


def class_numbers(found: list[str], names: tuple[str, ...], folder: Path, net: str) -> list[int]:
    """The net's number of each class of a folder.

    Raises:
      UserError: the net knows some of the classes, or another number of them.
    """
    numbers = {name: number for number, name in enumerate(names)}
    unknown = [name for name in found if name not in numbers]
    if not unknown:
        return [numbers[name] for name in found]
    if len(unknown) == len(found) == len(names):
        return list(range(len(names)))
    raise UserError(f"{folder}: its class {unknown[0]} is none of {net}'s: {some(names)}.")


if __name__ == "__main__":
    cli.run_main(main)
