"""Train one net: a named experiment, any field of its configuration changed on the command line.

python -m experiments.train digits-plain --model.depth=56 --optim.learning-rate=0.05
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from experiments import cli, sketch
from experiments.options import parse, typed_fields
from experiments.studies import experiments
from experiments.study import variant_name
from resnet_jax.config import ExperimentConfig, changed_fields, settle, unbind
from resnet_jax.errors import UserError
from resnet_jax.models import cost
from resnet_jax.record import RECORD_FILE, RunRecord

if TYPE_CHECKING:
    from resnet_jax.data import Dataset
    from resnet_jax.training.observers.base import Observer

# The help of --profile names both.
WARM, TRACED = 3, 5
PERFETTO = "perfetto_trace.json.gz"  # as JAX's profiler names it
PICTURES = (".png", ".svg", ".pdf", ".jpg")
SHOWN = 32
SHAPES = {
    "cifar10": ((32, 32, 3), 10),
    "cifar100": ((32, 32, 3), 100),
    "mnist": ((28, 28, 1), 10),
    "fashion_mnist": ((28, 28, 1), 10),
    "svhn_cropped": ((32, 32, 3), 10),
}
"""Images and classes of data sets that TFDS prepares: what a summary needs, where they are not prepared."""


@dataclass(frozen=True)
class Train:
    """One run of an experiment."""

    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")]
    runs: Path = Path("runs")
    """Folder of run directories; this run's is <runs>/<experiment>/<net, depth, what was changed, seed>."""
    directory: Path | None = None
    """This run's directory, where the one made from its name will not do."""
    log: tuple[str, ...] = ()
    """Where numbers go besides the run directory: tensorboard, wandb, or both."""
    summary: bool = False
    """Print the net's stages, shapes, parameters and multiply-adds, and the memory that training takes, by formula and
    by the compiler; train nothing."""
    show_batch: Path | None = None
    """Write a picture of the first training images as the net sees them, with their classes; train nothing."""
    profile: Path | None = None
    """Write a trace of 5 steps, after 3 warm ones, into this folder, for TensorBoard and Perfetto; train nothing else
    and leave no run directory."""


def main(argv: list[str] | None = None) -> int:
    """Parses, trains, prints the result; returns the exit status."""
    named = experiments()
    name, options = cli.first_word(sys.argv[1:] if argv is None else argv, "train", "experiment", list(named))
    program = f"python -m experiments.train {name}"
    chosen = parse(Train, options, default=Train(named[name]), program=program, description=__doc__)
    chosen = cli.expand(chosen)
    changes = changed_fields(named[name], chosen.config)
    typed = typed_fields(options, chosen.config)
    config = settle(unbind(chosen.config, changes, typed=typed), chosen={*changes, *typed})
    cli.virtual_devices(cli.share_of_devices(config.parallel))
    if chosen.summary:
        print_summary(config)
        return cli.OK
    if chosen.show_batch is not None:
        write_batch(config, chosen.show_batch)
        return cli.OK
    if argv is None:
        cli.tune_malloc()
    if chosen.profile is not None:
        write_trace(config, chosen.profile)
        return cli.OK
    cli.join(config)
    directory = chosen.directory or chosen.runs / name / _run_name(config, changes)
    finished = (directory / RECORD_FILE).exists()
    record = train(config, directory, study=name, compiled=chosen.runs, log=chosen.log)
    print_record(record, directory)
    if finished:
        print("This run had finished before; nothing was trained.")
    return cli.OK if record.diverged_at_step is None else cli.DIVERGED


class OutOfTime(Exception):
    """The deadline has come; what was run has its checkpoint. The message says how to go on."""


def train(
    config: ExperimentConfig,
    directory: Path,
    *,
    study: str,
    compiled: Path,
    deadline: float | None = None,
    log: Sequence[str] = (),
) -> RunRecord:
    """One run with its display and signals; see resnet_jax.training.run.run.

    Args:
      config, directory, study: as for `run`.
      compiled: folder of run directories, beside which compiled programs are kept.
      deadline: by `time.monotonic`; a run that is not done by then is stopped after its step, with a checkpoint.
      log: names of the sinks that receive its numbers.

    Raises:
      OutOfTime: the deadline stopped the run.
      UserError: a name in `log` is no sink's, or its package is not installed; or what `run` raises.
    """
    # Imported here: JAX takes a second, which --help and a typo should not.
    from resnet_jax.training import processes
    from resnet_jax.training.loop import Interrupted
    from resnet_jax.training.observers import open_sinks, sink_classes
    from resnet_jax.training.run import run

    sink_classes(log)  # a mistake is reported before anything is drawn
    cli.use_compilation_cache(compiled)
    with cli.stop_request() as stop:
        observers: tuple[Observer, ...] = ()
        if processes.primary():
            display = cli.display(config.train.iterations, directory.name)
            observers = (display, *open_sinks(log, directory, study, config, display.note))
        try:
            record = run(config, directory, study=study, observers=observers, stop=_or_late(stop, deadline))
        except Interrupted as interrupt:
            # An interruption that nobody asked for is the deadline's.
            if processes.any_of(stop()):
                raise
            raise OutOfTime(str(interrupt)) from interrupt
    if processes.any_of(stop()):  # too late for this run, but not for a sweep's next
        print_record(record, directory)
        raise Interrupted("stopped; this run had just finished.")
    return record


def _or_late(stop: Callable[[], bool], deadline: float | None) -> Callable[[], bool]:
    """Whether a run is to stop: it was asked to, or the deadline has come."""
    return lambda: stop() or (deadline is not None and monotonic() >= deadline)


def print_record(record: RunRecord, directory: Path) -> None:
    """The result of a run, and how long it waited for its images where they are decoded on demand."""
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
    waited = record.cost.input_s
    if waited is not None:
        share = waited / max(record.cost.train_s, 1e-9)
        console.print(
            f"training waited {waited:,.1f} s for its images to be decoded, {share:.0%} of its time",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"record: {directory}, of {record.data.name}", highlight=False, markup=False, soft_wrap=True)


def print_summary(config: ExperimentConfig) -> None:
    """Stages, output shapes, parameters and multiply-adds of the net on its data; the memory of its training."""
    from resnet_jax.data import load
    from resnet_jax.training.assemble import resolve

    try:
        dataset = load(config.data, print)
    except UserError as error:
        if config.data.name not in SHAPES:
            raise
        dataset = _stand_in(config.data.name, config.train.batch_size)
        print(f"The data are not here ({error.args[0].partition(';')[0]}): this is for their published shape.")
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
    rows = cost.stages(model, dataset.image_shape)
    for row in [*rows, cost.total(model, dataset.image_shape)]:
        if row.name == "total":
            table.add_section()
        shape = " x ".join(map(str, row.output))
        table.add_row(row.name, shape, f"{row.parameters:,}", f"{row.multiply_adds:,}")
    Console().print(table)
    _print_schedule(config)
    _print_memory(dataclasses.replace(config, model=model), dataset)


def _stand_in(name: str, images: int) -> Dataset:
    """A data set of black images with the shape and the classes of a published one."""
    import numpy as np

    from resnet_jax.data import Dataset
    from resnet_jax.data.dataset import ArraySource

    shape, classes = SHAPES[name]
    black = ArraySource(np.zeros((images, *shape), np.uint8), np.zeros(images, np.int32))
    return Dataset(name, black, black, tuple(map(str, range(classes))))


def _print_schedule(config: ExperimentConfig) -> None:
    """The rate over the run, in words and as a plot; where a warm-up ends by the training error, it is not drawn."""
    from resnet_jax.training.schedules import rates, schedule_rows

    iterations = config.train.iterations
    optim = config.in_iterations().optim
    steps = sketch.positions(iterations)
    print(sketch.plot(rates(optim, iterations, steps), last=iterations))
    for name, value in schedule_rows(optim, iterations).items():
        print(f"  {name:11}  {value}")


def _print_memory(config: ExperimentConfig, dataset: Dataset) -> None:
    from resnet_jax.training.program import prepare

    print("compiling the train step, for the compiler's figures ...", file=sys.stderr)
    figures, remark = None, "The compiler gives no figures here."
    try:
        figures = prepare(config, dataset=dataset).memory()
    except UserError as error:  # such as devices that are not here: the rest of the summary stands
        remark = f"No figures of the compiler: {error}"
    estimate = cost.memory(config, dataset.image_shape)
    table = Table(title=f"training, on each device, {estimate.images} image{'s' * (estimate.images > 1)} at once")
    table.add_column("memory")
    table.add_column("MB", justify="right")
    kept = "activations kept for the backward pass" + ", with remat" * config.model.remat
    rows = [
        ("parameters", estimate.parameters),
        ("gradients", estimate.gradients),
        ("optimizer", estimate.optimizer),
        (kept, estimate.activations),
        ("total, by the formula of resnet_jax/models/cost.py", estimate.total),
    ]
    if figures is not None:
        rows += [
            ("compiler: arguments (state, images on the device)", figures[0]),
            ("compiler: temporaries (gradients, activations, scratch)", figures[1]),
        ]
    for i, (what, size) in enumerate(rows):
        table.add_row(what, f"{size / 1e6:,.1f}", end_section=i in (3, 4))
    Console().print(table)
    if figures is None:
        Console().print(remark, highlight=False, soft_wrap=True)


def write_batch(config: ExperimentConfig, file: Path) -> None:
    """Pictures the first images of a run, augmented by the code of its train step.

    Raises:
      UserError: the file's ending is none that a picture can have, or the run itself would be refused: data missing or
        damaged, another number of classes than theirs.
      OSError: the file cannot be written; an older one is as it was.
    """
    import jax.numpy as jnp
    import numpy as np

    from resnet_jax.data import Draws
    from resnet_jax.data import mix as mixing
    from resnet_jax.data.augment import training_inputs
    from resnet_jax.data.order import training_batches
    from resnet_jax.reports.figures.images import image_grid, save
    from resnet_jax.training.assemble import assemble, run_keys

    if file.suffix.lower() not in PICTURES:
        raise UserError(f"show-batch: got {str(file)!r}; legal: a file that ends in {', '.join(PICTURES)}.")
    assembly = assemble(config, print)
    dataset, stats = assembly.dataset, assembly.normalization
    size = min(SHOWN, config.train.batch_size)
    batch = next(training_batches(seed=config.seed, examples=len(dataset.train), batch_size=size, first_step=0))
    stored = jnp.asarray(dataset.train.take(batch.index, Draws(config.seed, batch.epoch)))
    _, key = run_keys(config.seed)
    epoch, index = jnp.asarray(batch.epoch), jnp.asarray(batch.index)
    images = training_inputs(stored, key, epoch, index, stats=stats, data=config.data, dtype=jnp.float32)
    names = [dataset.class_names[label] for label in dataset.train.labels[batch.index]]
    if config.data.mixes:
        mix = mixing.draw(
            key,
            epoch,
            index,
            size=dataset.image_shape[:2],
            mixup=config.data.mixup,
            cutmix=config.data.cutmix,
            dtype=images.dtype,
        )
        images = mixing.blend(images, mix)
        shares = [round(100 * float(share)) for share in mix.share]
        names = [f"{own} {share} %, {names[i ^ 1]}" for i, (own, share) in enumerate(zip(names, shares, strict=True))]
    # Back to colours for the eye by channel: where the mean image was subtracted, a crop no longer lies on it.
    shown = np.asarray(images) * stats.std + stats.mean.mean(axis=(1, 2), keepdims=True)
    heading = f"{dataset.name}: the first {size} training images of seed {config.seed}, as the net sees them"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not save(image_grid(np.clip(shown, 0.0, 1.0), names, heading), file):
        print("the picture's font lacks characters of the names, and has boxes for them.")
    print(file)


def write_trace(config: ExperimentConfig, directory: Path) -> None:
    """Traces a few train steps and says how to look at them. What TensorBoard and Perfetto read lies in `directory`.

    Raises:
      OSError: the directory cannot be made.
    """
    import jax

    from resnet_jax.training.program import prepare
    from resnet_jax.training.run import table

    # Before minutes are spent on compiling.
    directory.mkdir(parents=True, exist_ok=True)
    traces = directory / "plugins" / "profile"  # as the profiler names it
    traces.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=traces).close()
    program = prepare(config, print)
    print(table(program))
    state = program.put(program.assembly.initial)
    for step in range(WARM):
        state, _ = program.train(state, range(step, step + 1))
    jax.block_until_ready(state)
    with jax.profiler.trace(str(directory), create_perfetto_trace=True):
        for step in range(WARM, WARM + TRACED):
            with jax.profiler.StepTraceAnnotation("train_step", step_num=step + 1):
                state, _ = program.train(state, range(step, step + 1))
        jax.block_until_ready(state)
    # The profiler makes a folder of each trace, named by the time.
    file = max(directory.glob(f"plugins/profile/*/{PERFETTO}"), key=lambda path: path.stat().st_mtime)
    print(f"steps {WARM + 1} to {WARM + TRACED}: {file.parent}")
    print(f"TensorBoard: pip install tensorboard xprof; tensorboard --logdir {directory}")
    print(f"Perfetto: open {file} at https://ui.perfetto.dev")


def _run_name(config: ExperimentConfig, changes: Mapping[str, Any]) -> str:
    others = {name: value for name, value in changes.items() if name != "seed"}
    return f"{variant_name(config, others)}-seed{config.seed}"


if __name__ == "__main__":
    cli.run_main(main)
