"""Classify pictures with a net that was trained here or published.

    python -m experiments.classify --weights resnet50 cat.jpg holiday/
    python -m experiments.classify --weights runs/digits-resnet/resnet-20-seed0 --json digit.png
    python -m experiments.classify --weights resnet50 holiday/ --features stage3_block2 --out features.npz

The third command also writes features: the output of the block stage3_block2 for each picture.

A net is a folder written by experiments.convert, the directory of a finished run, a PyTorch state dict, or a folder
that the client of the Hugging Face hub downloaded. Pictures are resized and normalised as in the net's evaluation. If
a picture cannot be read, an error is printed, the other pictures are classified, and the exit status is 2.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments import cli, machine
from experiments.options import parse
from resnet_jax.data import listing
from resnet_jax.errors import UserError
from resnet_jax.files import replacing
from resnet_jax.text import shown

if TYPE_CHECKING:
    from resnet_jax.weights.classifier import Prediction


@dataclass(frozen=True)
class Classify:
    """Classify pictures with a net."""

    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE ...")]
    """Image files, and folders with image files at any depth."""
    weights: Path
    """The net: a folder written by experiments.convert, a finished run's directory, a PyTorch state dict, or a folder
    from the Hugging Face hub."""
    top: int = 5
    """Number of classes to print for each picture, the most probable first."""
    json: bool = False
    """Print JSON, one object for each picture, instead of a table."""
    features: str | None = None
    """Name of a block, such as stage3_block2, whose output is saved too; None: save no features."""
    out: Path = Path("features.npz")
    """NumPy file (.npz) for the features: an array [N, H, W, C] named after the block, and the array `paths` [N]."""
    compiled: Path = Path("runs")
    """Folder of the cache of compiled programs."""


def main(argv: list[str] | None = None) -> int:
    """Classifies pictures and prints their classes; returns the exit status, 2 if a picture could not be read."""
    chosen = parse(Classify, argv, program="python -m experiments.classify", description=__doc__)
    if chosen.top < 1:
        raise UserError(f"top: got {chosen.top}; legal: a whole number above 0.")
    if not chosen.images:
        raise UserError("images: none given; usage: python -m experiments.classify --weights NET IMAGE [MORE ...]")
    paths = listing.pictures([str(path) for path in chosen.images], cli.warn)
    if chosen.features and chosen.out.suffix != ".npz":
        raise UserError(f"out: got {str(chosen.out)!r}; legal: a file that ends in .npz.")
    if chosen.features:
        cli.prepare_output(chosen.out, "out")
    # Imported here, because --help should not wait for JAX.
    from resnet_jax.weights import files
    from resnet_jax.weights.classifier import Classifier, Prediction

    weights = files.load(chosen.weights, note=cli.warn)
    classifier = Classifier(weights, chosen.features)
    machine.use_compilation_cache(chosen.compiled)
    predictions: list[Prediction] = []
    answers: list[dict[str, Any]] = []
    for result in classifier.predict(paths):
        path = shown(result.path)
        if isinstance(result, Prediction):
            predictions.append(result)
            answers.append({"image": path, "top": top(result, weights.class_names, chosen.top)})
        else:
            answers.append({"image": path, "error": result.reason})
            print(f"error: {path} cannot be read as an image: {result.reason}.", file=sys.stderr)
    if chosen.json:
        print(json.dumps(answers, indent=1, ensure_ascii=False))
    elif predictions:
        show([answer for answer in answers if "top" in answer], weights.origin.file)
    if chosen.features and predictions:
        write_features(predictions, chosen.features, chosen.out)
    return cli.OK if len(predictions) == len(paths) else cli.BAD_INPUT


def top(prediction: Prediction, names: tuple[str, ...], count: int) -> list[dict[str, Any]]:
    """The `count` most probable classes and their probabilities, the most probable first."""
    order = (-prediction.probabilities).argsort(kind="stable")[:count]
    return [{"class": names[i], "probability": float(prediction.probabilities[i])} for i in order]


def show(answers: list[dict[str, Any]], net: str) -> None:
    """Prints a table with the most probable classes of each picture and their probabilities in %."""
    table = Table(title=Text(net), title_justify="left")
    for heading in ("image", "class", "%"):
        table.add_column(heading, justify="right" if heading == "%" else "left")
    for answer in answers:
        for rank, found in enumerate(answer["top"]):
            table.add_row(
                Text(answer["image"] if rank == 0 else ""),
                Text(found["class"], style="bold" if rank == 0 else ""),
                f"{100 * found['probability']:.1f}",
                end_section=rank == len(answer["top"]) - 1,
            )
    Console().print(table)


def write_features(predictions: list[Prediction], block: str, out: Path) -> None:
    """Writes an .npz file with the output of the block for each picture that could be read."""
    import numpy as np

    stacked = np.stack([result.features for result in predictions if result.features is not None])
    arrays: dict[str, Any] = {block: stacked, "paths": np.array([shown(result.path) for result in predictions])}
    with replacing(out) as part:
        np.savez(part, **arrays)
    shape = ", ".join(map(str, stacked.shape))
    print(f"{out}: {block} [{shape}] float32, paths [{len(predictions)}]", file=sys.stderr)


if __name__ == "__main__":
    cli.run_main(main)
