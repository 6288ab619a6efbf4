"""Lists the commands, the experiments and the studies: `python -m experiments`."""

import sys

from rich.console import Console
from rich.table import Table

from experiments.cli import run_main
from experiments.studies import experiments, studies
from resnet_jax.errors import UserError
from resnet_jax.text import nearest

COMMANDS = {
    "train": "train one net: python -m experiments.train digits-resnet --model.depth=56",
    "sweep": "run the missing runs of a study: python -m experiments.sweep digits-depth",
    "ablate": "train a net and its variants, and compare: python -m experiments.ablate digits-resnet cut=stage2",
    "prepare": "prepare a TFDS data set, to be read without TensorFlow: python -m experiments.prepare cifar10",
    "statistics": "mean and colours of training images: python -m experiments.statistics imagenet-depth",
    "recompute": "evaluate a net with batch statistics of the whole training set: python -m experiments.recompute RUN",
    "convert": "convert a net from or to a PyTorch state dict: python -m experiments.convert resnet50.pth resnet50",
    "classify": "the top five classes of pictures: python -m experiments.classify --weights resnet50 cat.jpg",
    "evaluate": "errors of a net on class folders: python -m experiments.evaluate --weights resnet50 val",
    "equivalence": "compare the results of parallel modes: python -m experiments.equivalence",
    "benchmark": "measure speed beside Flax, PyTorch and the machine's limits: python -m experiments.benchmark",
    "gpu_check": "the first command for a new GPU: python -m experiments.gpu_check --seconds 150",
    "derivation": "print the tables of docs/derivation.md: python -m experiments.derivation",
    "documents": "renew the tables, numbers and pictures of the documents: python -m experiments.documents",
    "analyze": "look inside nets: python -m experiments.analyze layer-responses runs/digits-depth/resnet-56-seed0",
    "report": "make tables, figures and a page from run directories: python -m experiments.report runs/digits-depth",
}


def main() -> None:
    """Prints the lists.

    Raises:
      UserError: the command line has an argument.
    """
    words = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
    if words:
        hint = f"run python -m experiments.{words[0]}" if words[0] in COMMANDS else nearest(words[0], list(COMMANDS))
        raise UserError(f"python -m experiments takes no arguments, got {words[0]!r}; {hint}")
    named = {
        name: f"{c.model.net} on {c.data.name or c.data.source}, {c.train.iterations:,} steps"
        for name, c in experiments().items()
    }
    _list("Commands (each has --help):", {f"experiments.{command}": line for command, line in COMMANDS.items()})
    _list("\nExperiments, for train:", named)
    _list("\nStudies, for sweep:", {name: line for name, (_, line) in studies().items()})


def _list(heading: str, lines: dict[str, str]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, line in lines.items():
        table.add_row(f"[bold]{name}", line)
    Console().print(heading, table, sep="\n", highlight=False)


if __name__ == "__main__":
    run_main(main)
