"""The errors of a net, of one's own or a published one, on a folder of pictures in class folders.

    python -m experiments.evaluate --weights resnet20.th cifar10/test

FOLDER holds <class>/<image>. The first rule that fits all class folders says which class of the net each is:

1. its name is the name of a class, in composed Unicode;
2. its name is the WordNet ID of one of ImageNet's classes (n01440764), where the net's classes are ImageNet's;
3. its name is the number of a class, from 0.

Where none fits, --labels says it. Pictures become what the net was trained on, as in classify. One that cannot be read
gets a sentence, does not count, and the exit status is 2.
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments import cli
from experiments.options import parse
from resnet_jax.data import listing
from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically
from resnet_jax.text import shown

if TYPE_CHECKING:
    from resnet_jax.weights.classes import Unmatched

TOP, SHOWN = 5, 30


@dataclass(frozen=True)
class Evaluate:
    """A net, and the pictures whose classes it is to find."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Pictures in class folders."""
    weights: Path
    """The net: a folder written by experiments.convert, a finished run's directory, or a PyTorch state dict."""
    labels: str | None = None
    """Which class each folder is, where its name does not say: a text file with a line "folder = class" each, or
    "order": the folders in the order of their names are the classes in theirs."""
    out: Path | None = None
    """JSON file for the numbers."""
    compiled: Path = Path("runs")
    """Folder whose compiled programs to use."""


def main(argv: list[str] | None = None) -> int:
    """Parses, looks at every picture, prints the errors; returns the exit status."""
    chosen = parse(Evaluate, argv, program="python -m experiments.evaluate", description=__doc__)
    chosen = cli.expand(chosen)
    found = listing.class_folders(str(chosen.folder))
    for note in found.notes:
        cli.warn(note)
    if chosen.out is not None:
        cli.prepare_output(chosen.out, "out")
    # Imported here: JAX takes a second, which --help and a typo should not.
    from resnet_jax.weights import files
    from resnet_jax.weights.classes import Unmatched, match
    from resnet_jax.weights.classifier import Classifier, Seen

    weights = files.load(chosen.weights, note=cli.warn)
    names = list(found.classes)
    try:
        matched = match(names, weights.class_names, str(chosen.folder), str(chosen.weights), chosen.labels)
    except Unmatched as error:
        show(error)
        raise
    images = zip(found.classes.values(), matched.numbers, strict=True)
    labelled = [(file.path, number) for files_of_class, number in images for file in files_of_class]
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
        f"not among the first {TOP}: {among / count:.2%} (classes by {matched.rule})"
    )
    if chosen.out is not None:
        source = weights.read_from or weights.origin
        values = {"file": source.file, "digest": source.digest, "images": count, "labels": matched.rule}
        values |= {"error": first / count, f"top{TOP}_error": among / count}
        write_atomically(chosen.out, json.dumps(values, indent=1) + "\n")
    return cli.OK if count == len(labelled) else cli.BAD_INPUT


def show(unmatched: Unmatched) -> None:
    """The folders and the classes, side by side."""
    table = Table(title="no rule says which class each folder is", title_justify="left")
    for heading in ("number", "class of the net", "folder"):
        table.add_column(heading, justify="right" if heading == "number" else "left")
    rows = list(itertools.zip_longest(unmatched.classes, unmatched.names, fillvalue=""))
    for number, (name, folder) in enumerate(rows[:SHOWN]):
        table.add_row(str(number) if number < len(unmatched.classes) else "", Text(name), Text(folder))
    if len(rows) > SHOWN:
        table.add_row("", f"{len(unmatched.classes):,} in all", f"{len(unmatched.names):,} in all")
    Console(stderr=True).print(table)


if __name__ == "__main__":
    cli.run_main(main)
