"""Train one net: a named experiment, any field of its configuration changed on the command line.

python -m experiments.train digits-plain --model.depth=56 --optim.learning-rate=0.05
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from experiments import cli
from experiments.configs import experiments
from experiments.study import variant_name
from resnet_jax.config import ExperimentConfig, flatten, to_dict
from resnet_jax.errors import UserError
from resnet_jax.models import summary
from resnet_jax.record import RunRecord

PICTURES = (".png", ".svg", ".pdf", ".jpg")
SHOWN = 32


@dataclass(frozen=True)
class Train:
    """One run of an experiment."""

    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")]
    runs: Path = Path("runs")
    """Folder of run directories; this run's is <runs>/<experiment>/<net, depth, what was changed, seed>."""
    directory: Path | None = None
    """This run's directory, where the one made from its name will not do."""
    summary: bool = False
    """Print the net's stages, shapes, parameters and multiply-adds, and train nothing."""
    show_batch: Path | None = None
    """Write a picture of the first training images as the net sees them, with their classes; train nothing."""


def main(argv: list[str] | None = None) -> int:
    """Parses, trains, prints the result; returns the exit status."""
    named = experiments()
    name, options = cli.first_word(sys.argv[1:] if argv is None else argv, "train", "experiment", list(named))
    program = f"python -m experiments.train {name}"
    chosen = tyro.cli(Train, default=Train(named[name]), args=options, prog=program, description=__doc__)
    if chosen.summary:
        print_summary(chosen.config)
        return cli.OK
    if chosen.show_batch is not None:
        write_batch(chosen.config, chosen.show_batch)
        return cli.OK
    directory = chosen.directory or chosen.runs / name / _run_name(named[name], chosen.config)
    record = train(chosen.config, directory, study=name, compiled=chosen.runs)
    print_record(record, directory)
    return cli.OK


def train(config: ExperimentConfig, directory: Path, *, study: str, compiled: Path) -> RunRecord:
    """One run with its display and signals; see resnet_jax.training.loop.run."""
    # Imported here: JAX takes a second, which --help and a typo should not.
    from resnet_jax.training.loop import run

    cli.use_compilation_cache(compiled)
    with cli.stop_request() as stop, cli.display(config.train.iterations, directory.name) as display:
        record = run(config, directory, study=study, display=display, stop=stop)
    if stop():  # too late for this run, but not for a sweep's next
        print_record(record, directory)
        raise KeyboardInterrupt("stopped; this run had just finished.")
    return record


def print_record(record: RunRecord, directory: Path) -> None:
    """The result of a run in two lines."""
    if record.final is None:
        outcome = f"diverged at step {record.diverged_at_step}"
    else:
        final = record.final
        outcome = (
            f"training error {final.train_error:.2%} ({final.train_examples:,} images), "
            f"test error {final.test_error:.2%} ({final.test_examples:,} images) after step {final.step}"
        )
    console = Console()
    console.print(f"{record.run}: {outcome}", highlight=False, soft_wrap=True)
    console.print(f"record: {directory}", highlight=False, soft_wrap=True)


def print_summary(config: ExperimentConfig) -> None:
    """Stages, output shapes, parameters and multiply-adds of the net on its data."""
    from resnet_jax.data import load
    from resnet_jax.training.setup import resolve

    dataset = load(config.data, print)
    model = resolve(config.model, dataset)
    table = Table(title=f"{model.net}-{model.depth} on {dataset.name}, one image")
    for heading, justify in (
        ("stage", "left"),
        ("output", "right"),
        ("parameters", "right"),
        ("multiply-adds", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    shape = " x ".join(map(str, dataset.image_shape))
    table.add_row("images", shape, "", "")
    rows = summary.stages(model, dataset.image_shape)
    for row in [*rows, summary.total(model, dataset.image_shape)]:
        if row.name == "total":
            table.add_section()
        shape = " x ".join(map(str, row.output))
        table.add_row(row.name, shape, f"{row.parameters:,}", f"{row.multiply_adds:,}")
    Console().print(table)


def write_batch(config: ExperimentConfig, file: Path) -> None:
    """Pictures the first images of a run, augmented by the code of its train step.

    Raises:
      UserError: the file's ending is none that a picture can have.
    """
    import jax.numpy as jnp
    import numpy as np

    from resnet_jax.data import load, normalization
    from resnet_jax.data.augment import augment, normalize
    from resnet_jax.data.batches import training_batches
    from resnet_jax.results.images import image_grid
    from resnet_jax.training.setup import run_keys

    if file.suffix.lower() not in PICTURES:
        raise UserError(f"show-batch: got {str(file)!r}; legal: a file that ends in {', '.join(PICTURES)}.")
    dataset = load(config.data, print)
    stats = normalization(dataset.train.images, config.data)
    size = min(SHOWN, config.train.batch_size)
    batch = next(training_batches(seed=config.seed, examples=len(dataset.train), batch_size=size, first_step=0))
    mean, std = jnp.asarray(stats.mean, jnp.float32), jnp.asarray(stats.std, jnp.float32)
    images = normalize(jnp.asarray(dataset.train.images[batch.index]), mean, std)
    _, key = run_keys(config.seed)
    images = augment(
        images, key, jnp.asarray(batch.epoch), jnp.asarray(batch.index), pad=config.data.pad, flip=config.data.flip
    )
    # Back to colours for the eye by channel: where the mean image was subtracted, a crop no longer lies on it.
    shown = np.asarray(images) * stats.std + stats.mean.mean(axis=(1, 2), keepdims=True)
    names = [dataset.class_names[label] for label in dataset.train.labels[batch.index]]
    heading = f"{dataset.name}: the first {size} training images of seed {config.seed}, as the net sees them"
    file.parent.mkdir(parents=True, exist_ok=True)
    image_grid(np.clip(shown, 0.0, 1.0), names, heading).savefig(file, dpi=200)
    print(file)


def _run_name(base: ExperimentConfig, config: ExperimentConfig) -> str:
    before, now = flatten(to_dict(base)), flatten(to_dict(config))
    changes = {name: value for name, value in now.items() if value != before[name] and name != "seed"}
    return f"{variant_name(config, changes)}-seed{config.seed}"


if __name__ == "__main__":
    cli.run_main(main)
