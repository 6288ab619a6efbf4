"""Options of the benchmark, their defaults, and the checks on them."""

from __future__ import annotations

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
"""The usual batch size and the batch sizes of `--all`, by family of nets."""
STEPS = {"cpu": 1, "gpu": 20}
"""Number of steps timed together, by platform; large enough on a GPU to hide the host's time at their end."""
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
"""For some options: the values of --what with which they have an effect."""


@dataclass(frozen=True)
class Benchmark:
    """Measures, and prints a table."""

    what: tuple[What, ...] = ("step",)
    """Time of a step; of its compilation, by depth; of an epoch of the training loop, with its data; of single
    convolutions and their gradients, beside JAX's own; of images made from files, for which see input.py; of a step on
    two devices in one process and in two, for which see processes.py."""
    nets: tuple[NetName, ...] = ("resnet-20", "resnet-56")
    """For steps. resnet-50 is the ImageNet net at 224 pixels with projections, the others are CIFAR's at 32 with option
    A."""
    images: tuple[Images, ...] = ()
    """For steps of CIFAR's nets: 8x8x1 as scikit-learn's digits, 16x16x3, or 32x32x3, which none means as well."""
    batch_sizes: tuple[int, ...] = ()
    """For steps; compilation takes the first. None: 128, for resnet-50 32."""
    dtypes: tuple[Dtype, ...] = ("float32",)
    phases: tuple[Phase, ...] = ("train",)
    """For steps."""
    depth_nets: tuple[NetName, ...] = ("resnet-20", "resnet-56", "resnet-110")
    """For compilation. PyTorch takes no part in it."""
    contestants: tuple[str, ...] = ()
    """Some of resnet_jax, flax, torch-eager, torch-compiled. resnet_jax:FIELD=VALUE,... changes our configuration;
    PEER+malloc is a peer with our settings of malloc. None: all, and torch-eager+malloc."""
    peer: str | None = None
    """To whom ratios are taken; none, or where it takes no part: torch-eager where it runs, else flax; in compiling,
    flax."""
    repeats: int = 10
    """Rounds that count, in each process."""
    processes: int = 1
    """For steps: processes of a contestant, one after the other. Where memory happens to lie in a process moves its
    times by up to a tenth, which several processes average out."""
    compile_repeats: int = 3
    """Each in a fresh process; JAX's cache of compiled programs is off."""
    warmup: int = 2
    """Rounds before them."""
    steps: int | None = None
    """Train or eval steps timed together; none: 1 on a CPU, 20 on a GPU."""
    data_path: Path | None = None
    """For epochs: a folder of images, DIR/{train,test}/<class>/*.jpg, beside the digits. For input: the images."""
    batches: int = 20
    """For input: batches of 128 images that each loader makes."""
    feed_batches: int = 100
    """For input: batches of 128 images that are taken from the feed alone."""
    device_rate: float = 3000.0
    """For input: images that a device takes in a second, for the number of cores that it needs."""
    all: bool = False
    """The whole grid: all of `what`, every net, dtype and phase, several batch sizes. Hours on a CPU."""
    out: Path | None = None
    """JSON file for options, machine, versions, and the time of every round; written after each case."""
    render: tuple[Path, ...] = ()
    """Print such files as Markdown; measure nothing."""


def check(chosen: Benchmark) -> Benchmark:
    """Checks all options before anything is measured, and returns them.

    Raises:
      UserError: an option has a value that cannot be measured, or that nothing measured here uses.
    """
    for name in ("repeats", "processes", "compile_repeats", "steps", "batches", "feed_batches"):
        value = getattr(chosen, name)
        if value is not None and value < 1:
            raise UserError(f"{name}: got {value}; legal: a whole number above 0.")
    if not chosen.device_rate > 0:
        raise UserError(f"device-rate: got {chosen.device_rate:g}; legal: a number above 0.")
    if chosen.warmup < 0:
        raise UserError(f"warmup: got {chosen.warmup}; legal: a whole number of at least 0.")
    if len(set(chosen.contestants)) < len(chosen.contestants):
        raise UserError(f"contestants: got {' '.join(chosen.contestants)}; legal: each once.")
    if chosen.data_path is not None and not chosen.data_path.is_dir():
        raise UserError(f"data-path: {chosen.data_path} is no directory.")
    for name in ("what", "nets", "dtypes", "phases", "depth_nets"):
        values = getattr(chosen, name)
        if not values or len(set(values)) < len(values):
            raise UserError(f"{option(name)}: got {' '.join(values) or 'nothing'}; legal: one or more, each once.")
    for batch_size in chosen.batch_sizes or [usual for usual, _ in BATCH_SIZES.values()]:
        config = step_config("resnet-20", batch_size, "float32")
        for contestant in chosen.contestants:
            configure(contestant, config)
    for name, served in SERVES.items():
        if getattr(chosen, name) != getattr(Benchmark, name) and not set(served) & set(chosen.what):
            raise UserError(
                f"{option(name)}: got a value, which --what {' '.join(chosen.what)} does not use; "
                f"legal: with --what {' or '.join(served)}."
            )
    if chosen.what == ("compile",) and len(chosen.batch_sizes) > 1:
        sizes = " ".join(map(str, chosen.batch_sizes))
        raise UserError(f"{option('batch_sizes')}: got {sizes}; legal: one, to compile.")
    if "compile" in chosen.what and chosen.contestants and not of_jax(chosen.contestants):
        raise UserError(f"contestants: got {' '.join(chosen.contestants)}; legal: {OURS} or {FLAX} too, to compile.")
    if "step" in chosen.what and chosen.contestants and not runnable(chosen.contestants):
        raise UserError("contestants: PyTorch is not installed, so none is left: pip install -e '.[parity]'")
    tasks: list[Literal["step", "compile"]] = [task for task in ("step", "compile") if task in chosen.what]
    known = {name for task in tasks for name in competing(chosen, task)}
    if chosen.peer is not None and chosen.peer not in known:
        raise UserError(f"peer: got {chosen.peer!r}; legal: one of the contestants, {', '.join(sorted(known))}.")
    if chosen.out is not None:
        cli.prepare_output(chosen.out, "out")
    return chosen


def competing(chosen: Benchmark, task: Literal["step", "compile"]) -> Sequence[str]:
    """The contestants in steps or compilation, whether or not PyTorch is installed here."""
    contestants = chosen.contestants or default_contestants(task)
    return contestants if task == "step" else of_jax(contestants)


def peer_of(chosen: Benchmark, contestants: Sequence[str]) -> str:
    """The contestant to which the others' times are compared."""
    if chosen.peer is not None and chosen.peer in contestants:
        return chosen.peer
    return TORCH[0] if TORCH[0] in contestants else FLAX


def of_jax(contestants: Sequence[str]) -> list[str]:
    """The contestants that use JAX."""
    return [name for name in contestants if not name.startswith(TORCH)]


def runnable(contestants: Sequence[str]) -> list[str]:
    """The contestants that can run on this machine."""
    return list(contestants) if has_torch() else of_jax(contestants)


def option(name: str) -> str:
    """The option of a field, as a user types it."""
    return f"--{name.replace('_', '-')}"
