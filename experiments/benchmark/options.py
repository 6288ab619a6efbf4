"""Command-line options of the benchmark, their defaults, and checks of their values."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments import cli
from experiments.benchmark.spec import (
    FLAX,
    OURS,
    TORCH,
    Dtype,
    Images,
    NetName,
    Phase,
    configure,
    default_contestants,
    has_torch,
    step_config,
)
from resnet_jax.errors import UserError

What = Literal["step", "compile", "epoch", "convolutions", "input", "processes"]


WHOLE: dict[str, Any] = {
    "what": ("step", "compile", "epoch", "convolutions"),
    "nets": ("resnet-20", "resnet-56", "resnet-110", "resnet-50"),
    "depth_nets": ("resnet-20", "resnet-56", "resnet-110", "resnet-302", "resnet-1202"),
    "dtypes": ("float32", "bfloat16"),
    "phases": ("train", "eval"),
}
"""Options that `--all` sets."""
BATCH_SIZES: dict[str, tuple[int, tuple[int, ...]]] = {"cifar": (128, (32, 128, 512)), "imagenet": (32, (32, 128))}
"""The default batch size, and the batch sizes of `--all`, for CIFAR nets and ImageNet nets."""
STEPS = {"cpu": 1, "gpu": 20}
"""Number of steps that are timed together, by platform. It is large on a GPU, so that the final wait hardly counts."""
SERVES: dict[str, tuple[What, ...]] = {
    "nets": ("step", "processes"),
    "phases": ("step",),
    "steps": ("step",),
    "images": ("step", "processes"),
    "processes": ("step",),
    "depth_nets": ("compile",),
    "compile_repeats": ("compile",),
    "batch_sizes": ("step", "compile", "processes"),
    "dtypes": ("step", "compile", "processes"),
    "contestants": ("step", "compile"),
    "peer": ("step", "compile"),
    "repeats": ("step", "epoch", "convolutions", "processes"),
    "warmup": ("step", "epoch", "convolutions", "processes"),
    "data_path": ("epoch", "input"),
    "batches": ("input",),
    "feed_batches": ("input",),
    "device_rate": ("input",),
}
"""For each option: the values of --what with which it has an effect. Options that always have one are left out."""


@dataclass(frozen=True)
class Benchmark:
    """Measure speed and print tables."""

    what: tuple[What, ...] = ("step",)
    """Measurements. step: train or eval steps. compile: compilation of a train step, by depth. epoch: an epoch of the
    training loop. convolutions: single convolutions and their gradients, compared with JAX's. input: images loaded from
    files. processes: train steps on two devices, in one process and in two."""
    nets: tuple[NetName, ...] = ("resnet-20", "resnet-56")
    """Nets for step and processes. resnet-50 is the ImageNet net (224x224 pixels, projection shortcuts); the others are
    CIFAR nets (32x32 pixels, shortcuts of option A)."""
    images: tuple[Images, ...] = ()
    """Image shapes for step and processes with CIFAR nets. digits: 8x8x1; cifar-16: 16x16x3; cifar: 32x32x3. None:
    32x32x3."""
    batch_sizes: tuple[int, ...] = ()
    """Batch sizes; compile uses the first one. None: 128 for CIFAR nets, 32 for resnet-50."""
    dtypes: tuple[Dtype, ...] = ("float32",)
    """Dtypes in which the nets compute."""
    phases: tuple[Phase, ...] = ("train",)
    """For step: train steps, eval steps, or both."""
    depth_nets: tuple[NetName, ...] = ("resnet-20", "resnet-56", "resnet-110")
    """Nets for compile, which does not measure PyTorch."""
    contestants: tuple[str, ...] = ()
    """Programs to time: resnet_jax, flax, torch-eager, torch-compiled. resnet_jax:FIELD=VALUE,... is resnet_jax with a
    changed configuration; PEER+malloc is a peer with resnet_jax's settings of malloc. None: these four, and
    torch-eager+malloc."""
    peer: str | None = None
    """Contestant with which the others are compared. None: torch-eager if it takes part, else flax."""
    repeats: int = 10
    """Number of timed rounds in each process."""
    processes: int = 1
    """For step: number of processes of each contestant, one after the other. Times differ between processes,
    because memory lies at other addresses; with several processes the difference averages out."""
    compile_repeats: int = 3
    """For compile: number of compilations, each in a new process and without JAX's cache of compiled programs."""
    warmup: int = 2
    """Number of rounds that each process runs before the timed rounds."""
    steps: int | None = None
    """For step: number of steps that are timed together; None: 1 on a CPU, 20 on a GPU."""
    data_path: Path | None = None
    """Folder of images, DIR/{train,test}/<class>/*.jpg. For epoch: a second data set, after the digits. For input: the
    images to load."""
    batches: int = 20
    """For input: number of batches of 128 images that each loader makes."""
    feed_batches: int = 100
    """For input: number of batches of 128 images in the measurement of the feed alone."""
    device_rate: float = 3000.0
    """For input: images per second that a device computes; the table states how many CPU cores can feed it."""
    all: bool = False
    """Measure step, compile, epoch and convolutions, with many nets, both dtypes, both phases and several batch sizes.
    This takes hours on a CPU."""
    out: Path | None = None
    """JSON file for the record: options, machine, versions and the time of every round; written after each case."""
    render: tuple[Path, ...] = ()
    """JSON files of records to print as Markdown; measure nothing."""


def check(chosen: Benchmark) -> Benchmark:
    """Checks all options before the measurements, and returns them.

    Raises:
      UserError: an option has an illegal value, or no effect with the chosen measurements.
    """
    for name in ("repeats", "processes", "compile_repeats", "steps", "batches", "feed_batches"):
        value = getattr(chosen, name)
        if value is not None and value < 1:
            raise UserError(f"{option(name)}: got {value}; legal: a whole number above 0.")
    if not chosen.device_rate > 0:
        raise UserError(f"device-rate: got {chosen.device_rate:g}; legal: a number above 0.")
    if chosen.warmup < 0:
        raise UserError(f"warmup: got {chosen.warmup}; legal: a whole number of at least 0.")
    if len(set(chosen.contestants)) < len(chosen.contestants):
        raise UserError(f"contestants: got {' '.join(chosen.contestants)}; legal: different contestants.")
    if chosen.data_path is not None and not chosen.data_path.is_dir():
        raise UserError(f"data-path: got {chosen.data_path}; legal: a folder that exists.")
    for name in ("what", "nets", "dtypes", "phases", "depth_nets"):
        values = getattr(chosen, name)
        if not values or len(set(values)) < len(values):
            raise UserError(f"{option(name)}: got {' '.join(values) or 'nothing'}; legal: one or more, all different.")
    for batch_size in chosen.batch_sizes or [usual for usual, _ in BATCH_SIZES.values()]:
        config = step_config("resnet-20", batch_size, "float32")
        for contestant in chosen.contestants:
            configure(contestant, config)
    for name, served in SERVES.items():
        if getattr(chosen, name) != getattr(Benchmark, name) and not set(served) & set(chosen.what):
            raise UserError(
                f"{option(name)}: has no effect with --what {' '.join(chosen.what)}; "
                f"legal: with --what {' or '.join(served)}."
            )
    if chosen.what == ("compile",) and len(chosen.batch_sizes) > 1:
        sizes = " ".join(map(str, chosen.batch_sizes))
        raise UserError(f"{option('batch_sizes')}: got {sizes}; legal: one batch size with --what compile.")
    if "compile" in chosen.what and chosen.contestants and not of_jax(chosen.contestants):
        raise UserError(f"contestants: got {' '.join(chosen.contestants)}; --what compile also needs {OURS} or {FLAX}.")
    if "step" in chosen.what and chosen.contestants and not runnable(chosen.contestants):
        raise UserError("contestants: all need PyTorch, which is not installed: pip install -e '.[parity]'")
    tasks: list[Literal["step", "compile"]] = [task for task in ("step", "compile") if task in chosen.what]
    known = {name for task in tasks for name in competing(chosen, task)}
    if chosen.peer is not None and chosen.peer not in known:
        raise UserError(f"peer: got {chosen.peer!r}; legal: one of the contestants, {', '.join(sorted(known))}.")
    if chosen.out is not None:
        cli.prepare_output(chosen.out, "out")
    return chosen


def competing(chosen: Benchmark, task: Literal["step", "compile"]) -> Sequence[str]:
    """The names of the contestants that the options choose for steps or for compilation."""
    contestants = chosen.contestants or default_contestants(task)
    return contestants if task == "step" else of_jax(contestants)


def peer_of(chosen: Benchmark, contestants: Sequence[str]) -> str:
    """The contestant with which the other contestants are compared."""
    if chosen.peer is not None and chosen.peer in contestants:
        return chosen.peer
    return TORCH[0] if TORCH[0] in contestants else FLAX


def of_jax(contestants: Sequence[str]) -> list[str]:
    """The names of those contestants that use JAX."""
    return [name for name in contestants if not name.startswith(TORCH)]


def runnable(contestants: Sequence[str]) -> list[str]:
    """The names of those contestants whose library is installed."""
    return list(contestants) if has_torch() else of_jax(contestants)


def option(name: str) -> str:
    """The name of a field's option, without leading dashes: "batch-sizes" for "batch_sizes"."""
    return name.replace("_", "-")
