"""Measure mean, standard deviation and principal components of the colours of training images.

    python -m experiments.statistics imagenet-depth --data.path=IMAGENET --data.statistics-images=10000

The first word names an experiment or a study. If the data set is held in memory, the command uses all its images. If it
is streamed, the command uses data.statistics_images evenly spaced images. The numbers are for pixels scaled to [0, 1].

The result for a streamed data set is stored. Later runs with the same data, image size and number of images use it for
data.normalize and data.color_noise.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from experiments import cli
from experiments.options import parse, typed_fields
from experiments.studies import experiments, studies
from resnet_jax.config import ExperimentConfig, changed_fields, settle, unbind
from resnet_jax.files import write_json

CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


@dataclass(frozen=True)
class Statistics:
    """Measure the statistics of the training images of an experiment or a study."""

    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")]
    out: Path | None = None
    """JSON file for the numbers."""


def main(argv: list[str] | None = None) -> int:
    """Measures the statistics and prints them; returns the exit status."""
    named = experiments() | {name: study.base for name, (study, *_) in studies().items()}
    name, options = cli.first_word(sys.argv[1:] if argv is None else argv, "statistics", "experiment", list(named))
    program = f"python -m experiments.statistics {name}"
    chosen = parse(Statistics, options, default=Statistics(named[name]), program=program, description=__doc__)
    changes = changed_fields(named[name], chosen.config)
    typed = typed_fields(options, chosen.config)
    config = settle(unbind(chosen.config, changes, typed=typed), chosen={*changes, *typed}).data
    if chosen.out is not None:
        cli.prepare_output(chosen.out, "out")
    # Imported here, because --help should not wait for the modules that read data.
    from resnet_jax.data import load, statistics

    dataset = load(config, cli.warn)
    sums = statistics.sums(dataset.train, config, cli.warn)
    mean, std = (array.reshape(-1).tolist() for array in sums.channels())
    variances, components = sums.components()
    values: dict[str, Any] = {
        "data": dataset.name,
        "fingerprint": dataset.fingerprint,
        "images": sums.images,
        "of": len(dataset.train),
        "image_shape": dataset.image_shape,
        "mean": mean,
        "std": std,
        "variances": variances.tolist(),
        "components": components.T.tolist(),  # one after another, in the order of the variances
    }
    show(values)
    if chosen.out is not None:
        write_json(chosen.out, values)
    return cli.OK


def show(values: dict[str, Any]) -> None:
    """Prints the values that --out also writes: a table of channels, and a table of principal components."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    counted = f"{values['images']:,} of {values['of']:,} training images of {values['data']}"
    console.print(f"{counted} (fingerprint {values['fingerprint']}), pixels / 255")
    names = CHANNELS.get(len(values["mean"]), tuple(map(str, range(len(values["mean"])))))
    table = Table("channel", "mean", "standard deviation", box=None)
    for name, mean, std in zip(names, values["mean"], values["std"], strict=True):
        table.add_row(name, f"{mean:.6f}", f"{std:.6f}")
    console.print(table)
    table = Table("principal component", "variance", *names, box=None)
    for i, (variance, component) in enumerate(zip(values["variances"], values["components"], strict=True), start=1):
        table.add_row(str(i), f"{variance:.6f}", *(f"{part:+.6f}" for part in component))
    console.print(table)


if __name__ == "__main__":
    cli.run_main(main)
