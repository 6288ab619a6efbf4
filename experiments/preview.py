"""Previews of a run: its net, learning rates and memory, its first images, and a profile of its first steps."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from experiments import cli, sketch
from experiments.printed import Printed
from resnet_jax.config import ExperimentConfig
from resnet_jax.errors import UserError
from resnet_jax.models import cost

if TYPE_CHECKING:
    from resnet_jax.data import Dataset

# The help of `train --profile` states both numbers.
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
"""Image shapes and numbers of classes of TFDS data sets, for the summary of a run whose data are not prepared."""


def print_summary(config: ExperimentConfig) -> None:
    """Prints the stages of the net with shapes, parameters and multiply-adds; learning rates; memory for training."""
    from resnet_jax.data import load
    from resnet_jax.training.assemble import resolve

    try:
        dataset = load(config.data, print)
    except UserError as error:
        if config.data.name not in SHAPES:
            raise
        dataset = _stand_in(config.data.name, config.train.batch_size)
        print(f"The data are not here ({error.args[0].partition(';')[0]}), so this summary uses their published shape.")
    model = resolve(config.model, dataset)
    shape = dataset.image_shape
    rows = [
        (c.name, c.output, c.parameters, c.multiply_adds)
        for c in (*cost.stages(model, shape), cost.total(model, shape))
    ]
    cells = [("images", _by(shape), "", ""), *((name, _by(out), f"{p:,}", f"{m:,}") for name, out, p, m in rows)]
    headings = ("stage", "output", "parameters", "multiply-adds")
    title = f"{model.net}-{model.depth} on {dataset.name}, one image"
    Console().print(Printed(title, headings, cells, words=1).rich(sections=(len(cells) - 2,)))
    _print_schedule(config)
    _print_memory(dataclasses.replace(config, model=model), dataset)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _stand_in(name: str, images: int) -> Dataset:
    """A data set of `images` black images, with the image shape and the classes of the published data set `name`."""
    import numpy as np

    from resnet_jax.data import Dataset
    from resnet_jax.data.dataset import ArraySource

    shape, classes = SHAPES[name]
    black = ArraySource(np.zeros((images, *shape), np.uint8), np.zeros(images, np.int32))
    return Dataset(name, black, black, tuple(map(str, range(classes))))


def _print_schedule(config: ExperimentConfig) -> None:
    """Prints the learning rate as a plot and in words.

    The plot omits a warm-up of the kind "error". Such a warm-up ends when the training error is low enough, so its
    length is not known before training.
    """
    from resnet_jax.training.schedules import rates, schedule_rows

    iterations = config.train.iterations
    optim = config.in_iterations().optim
    steps = sketch.positions(iterations)
    print(sketch.plot(rates(optim, iterations, steps), last=iterations))
    for name, value in schedule_rows(optim, iterations).items():
        print(f"  {name:11}  {value}")


def _print_memory(config: ExperimentConfig, dataset: Dataset) -> None:
    from resnet_jax.training.program import prepare

    print("compiling the train step, for the compiler's estimate of memory ...", file=sys.stderr)
    figures, remark = None, "The compiler gives no estimate of memory here."
    try:
        figures = prepare(config, dataset=dataset).memory()
    except UserError as error:  # such as missing devices; the rest of the summary is still printed
        remark = f"No estimate of the compiler: {error}"
    estimate = cost.memory(config, dataset.image_shape)
    title = f"training, on each device, {estimate.images} image{'s' * (estimate.images > 1)} at once"
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
    cells = [(what, f"{size / 1e6:,.1f}") for what, size in rows]
    Console().print(Printed(title, ("memory", "MB"), cells, words=1).rich(sections=(3, 4)))
    if figures is None:
        Console().print(remark, highlight=False, soft_wrap=True)


def write_batch(config: ExperimentConfig, file: Path) -> None:
    """Writes a picture of the first training images of a run, augmented as in its train step, with their classes.

    Raises:
      UserError: the file's suffix is not a picture format, or the run cannot start, for example because its data are
        missing.
      OSError: the file cannot be written. An older file of this name is then unchanged.
    """
    import jax.numpy as jnp
    import numpy as np

    from resnet_jax.data import Draws, mix as mixing
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
    # Normalisation is undone with the mean of each channel, because a crop does not match the mean image.
    shown = np.asarray(images) * stats.std + stats.mean.mean(axis=(1, 2), keepdims=True)
    heading = f"{dataset.name}: the first {size} training images of seed {config.seed}, as the input of the net"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not save(image_grid(np.clip(shown, 0.0, 1.0), names, heading), file):
        print("the font of the picture lacks some characters of the names, and shows boxes instead.")
    print(file)


def write_trace(config: ExperimentConfig, directory: Path) -> None:
    """Writes a profile of a few train steps into `directory`, and prints how to open it in TensorBoard and Perfetto.

    Raises:
      UserError: `directory` is a file, or the run cannot start.
      OSError: the directory cannot be made or written.
    """
    import jax

    from resnet_jax.training.program import prepare
    from resnet_jax.training.run import table

    # Checked here, because compilation may take minutes.
    cli.check_folder(directory, "profile")
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
    # The profiler makes a folder for each trace, named by the time.
    file = max(directory.glob(f"plugins/profile/*/{PERFETTO}"), key=lambda path: path.stat().st_mtime)
    print(f"steps {WARM + 1} to {WARM + TRACED}: {file.parent}")
    print(f"TensorBoard: pip install tensorboard xprof; tensorboard --logdir {directory}")
    print(f"Perfetto: open {file} at https://ui.perfetto.dev")
