"""Measure the error of a net, trained here or published, on pictures in class folders.

    python -m experiments.evaluate --weights resnet20.th cifar10/test

FOLDER contains one folder for each class: FOLDER/<class>/<image>. The command tries three rules for the names of these
folders, and uses the first rule that fits all of them:

1. the name of a class (both names are compared in Unicode's composed form, NFC);
2. the WordNet ID of a class, such as n01440764, if the net has ImageNet's classes;
3. the number of a class, from 0.

If no rule fits, use --labels. Pictures are resized and normalised as in experiments.classify. If a picture cannot be
read, an error is printed, the picture is not counted, and the exit status is 2.

    python -m experiments.evaluate --weights resnet50 --protocol ten_crop ILSVRC2012/val
    python -m experiments.evaluate --weights resnet50 --protocol multi_scale ILSVRC2012/val

With one of these protocols, the net gets more than the centre of each picture: ten crops (He et al. 2015, Tables 2 and
3), or the whole picture and its mirror image at several scales (Table 4). Probabilities are averaged. With one of
these protocols, a picture with a good header and damaged content stops the command.

    for i in 0 1; do python -m experiments.evaluate --weights resnet50 ILSVRC2012/val \\
      --processes=2 --coordinator=localhost:9000 --process=$i & done; wait

Several processes, on one machine or on several, can divide the pictures. Process 0 prints and writes the result.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments import cli, machine, shares
from experiments.options import parse
from resnet_jax.config import DataConfig
from resnet_jax.data import listing
from resnet_jax.errors import UserError
from resnet_jax.files import short_digest, write_json
from resnet_jax.text import shown

if TYPE_CHECKING:
    from resnet_jax.data.walk import ImageFile
    from resnet_jax.weights.bundle import Weights
    from resnet_jax.weights.classes import Unmatched
    from resnet_jax.weights.classifier import Prediction, Skipped

TOP, SHOWN = 5, 30
WORDS = {"center": "", "ten_crop": "; mean of ten crops", "multi_scale": "; mean of several scales"}
# The protocols with which an option has an effect.
OPTIONS = {
    "resize": ("ten_crop",),
    "scales": ("multi_scale",),
    "multiple": ("multi_scale",),
    "devices": ("ten_crop", "multi_scale"),
}


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a net on pictures in class folders."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Folder of the class folders with the pictures."""
    weights: Path
    """The net: a folder written by experiments.convert, a finished run's directory, or a PyTorch state dict."""
    labels: str | None = None
    """The class of each folder, if no rule fits: a text file with lines "folder = class"; or the word "order", if the
    folders, sorted by name, are in the order of the net's classes."""
    protocol: Literal["center", "ten_crop", "multi_scale"] = "center"
    """Parts of each picture that the net gets. center: the centre; ten_crop: the centre, the four corners and their
    mirror images; multi_scale: the whole picture and its mirror image at each of `scales`."""
    resize: int | None = None
    """For ten_crop: pixels of the shorter side before the crops are taken; None: as in the training of the net."""
    scales: tuple[int, ...] = DataConfig.default("eval_scales")
    """For multi_scale: lengths of the shorter side in pixels. The default is the paper's list."""
    multiple: int = DataConfig.default("eval_multiple")
    """For multi_scale: the longer side is rounded to a multiple of this number of pixels, so that few shapes are
    compiled."""
    devices: int = 1
    """For ten_crop and multi_scale: number of devices in each process; they share the work."""
    processes: int | Literal["auto"] = 1
    """Number of processes that divide the pictures, on one machine or several; "auto": as many as a launcher
    (such as Slurm) has started."""
    coordinator: str | None = None
    """HOST:PORT at which process 0 listens for the other processes; None: the launcher's value."""
    process: int | None = None
    """The number of this process, from 0; None: the launcher's value."""
    out: Path | None = None
    """JSON file for the numbers."""
    compiled: Path = Path("runs")
    """Folder of the cache of compiled programs."""


def main(argv: list[str] | None = None) -> int:
    """Evaluates a net and prints its errors; returns the exit status."""
    chosen = parse(Evaluate, argv, program="python -m experiments.evaluate", description=__doc__)
    classes = listing.class_folders(str(chosen.folder), cli.warn)
    require_effect(chosen)
    # Imported here: JAX takes a second, which --help and a typo should not.
    from resnet_jax.weights import files
    from resnet_jax.weights.classes import Unmatched, match
    from resnet_jax.weights.classifier import Prediction

    weights = files.load(chosen.weights, note=cli.warn)
    names = list(classes)
    try:
        matched = match(names, weights.class_names, str(chosen.folder), str(chosen.weights), chosen.labels)
    except Unmatched as error:
        show(error)
        raise
    images = zip(classes.values(), matched.numbers, strict=True)
    labelled = [(file, number) for files_of_class, number in images for file in files_of_class]
    machine.use_compilation_cache(chosen.compiled)
    source = weights.read_from or weights.origin
    alike = {"the net": source.digest, "the number of pictures": len(labelled), "protocol": chosen.protocol}
    alike |= {"resize": chosen.resize, "scales": list(chosen.scales), "multiple": chosen.multiple}
    facts = (os.fsencode(f"{file.relative}\n{file.size}\n{number}\n") for file, number in labelled)
    alike["the pictures' names, sizes and classes"] = short_digest(*facts)
    with shares.divided(chosen.processes, chosen.coordinator, chosen.process, alike) as share:
        if chosen.out is not None and share.index == 0:
            cli.prepare_output(chosen.out, "out")
        own = share.of(labelled)
        first = among = count = 0.0
        loss = 0.0
        results = predict(weights, chosen, [file for file, _ in own]) if own else iter(())
        for result, (_, label) in zip(results, own, strict=True):
            if isinstance(result, Prediction):
                rank = int((-result.probabilities).argsort(kind="stable").tolist().index(label))
                first, among, count = first + (rank > 0), among + (rank >= TOP), count + 1
                loss -= math.log(max(float(result.probabilities[label]), sys.float_info.min))
            else:
                print(f"error: {shown(result.path)} cannot be read as an image: {result.reason}.", file=sys.stderr)
        first, among, count, loss = share.total([first, among, count, loss])
        if not count:
            raise UserError(f"{chosen.folder}: none of its images can be read.")
        Console(highlight=False, markup=False, soft_wrap=True).print(
            f"{chosen.weights} on {int(count):,} images of {chosen.folder}: error {first / count:.2%}, "
            f"not among the first {TOP}: {among / count:.2%} (classes by {matched.rule}{WORDS[chosen.protocol]})"
        )
        if chosen.out is not None and share.index == 0:
            values = {"file": source.file, "digest": source.digest, "images": int(count), "labels": matched.rule}
            values |= {"protocol": chosen.protocol}
            values |= {"error": first / count, f"top{TOP}_error": among / count, "loss": loss / count}
            write_json(chosen.out, values)
    return cli.OK if count == len(labelled) else cli.BAD_INPUT


def require_effect(chosen: Evaluate) -> None:
    """Checks that each option has an effect with the chosen protocol, and a legal value.

    Raises:
      UserError: an option has no effect with the protocol, or its value is not a whole number above 0.
    """
    for name, protocols in OPTIONS.items():
        value, default = getattr(chosen, name), Evaluate.__dataclass_fields__[name].default
        if value != default and chosen.protocol not in protocols:
            raise UserError(
                f"{name}: got {value!r}, which has an effect only with protocol {' or '.join(map(repr, protocols))}; "
                f"omit this option, or change the protocol."
            )
        numbers = value if isinstance(value, tuple) else (value,)
        if value is not None and (not numbers or min(numbers) < 1):
            legal = "whole numbers above 0" if isinstance(value, tuple) else "a whole number above 0"
            raise UserError(f"{name}: got {value!r}; legal: {legal}.")


def predict(weights: Weights, chosen: Evaluate, images: list[ImageFile]) -> Iterator[Prediction | Skipped]:
    """Yields a prediction for each picture, in order, or `Skipped` if the picture cannot be read."""
    if chosen.protocol == "center":
        from resnet_jax.weights.classifier import Classifier

        return Classifier(weights).predict([file.path for file in images])
    from experiments import looks

    config = looks.data_config(
        weights,
        str(chosen.folder),
        protocol=chosen.protocol,
        resize=chosen.resize,
        eval_scales=chosen.scales,
        eval_multiple=chosen.multiple,
    )
    return looks.predict(weights, config, images, cli.warn, chosen.devices)


def show(unmatched: Unmatched) -> None:
    """Prints a table with the classes of the net and, beside them, the names of the folders."""
    table = Table(title="no rule fits: which folder is which class?", title_justify="left")
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
