"""How fast is it? Steps, compilation, epochs and convolutions, beside Flax, PyTorch and JAX, and the device's limits.

    python -m experiments.benchmark
    python -m experiments.benchmark --nets resnet-50 --batch-sizes 128 256 --dtypes bfloat16 --phases train eval
    python -m experiments.benchmark --what compile --depth-nets resnet-20 resnet-110 resnet-1202
    python -m experiments.benchmark --what convolutions
    python -m experiments.benchmark --what input --data-path PICTURES
    python -m experiments.benchmark --contestants resnet_jax resnet_jax:model.remat=True torch-eager --out FILE.json
    python -m experiments.benchmark --render FILE.json

All contestants compute the same function: the paper's net with BN over the whole batch, no augmentation, mean
cross-entropy, SGD with momentum and weight decay, on one batch of noise that lies on the device. Each has a process of
its own; in each round all go once, in turn, and ratios are taken round by round: 1.25 x PEER is a quarter faster. The
table has medians and quartiles. Use a machine that does nothing else: what shares its cores slows contestants by
different factors, PyTorch's the most, since its threads wait for each other in every layer.

The process of resnet_jax has the settings of malloc that this project's commands give themselves; "+malloc" after a
peer's name gives it the same. PyTorch's contestants need PyTorch: pip install -e '.[parity]'.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from experiments import cli, jobs
from experiments.benchmark import convolutions, limits, race, table
from experiments.benchmark import input as input_speed
from experiments.benchmark.race import Outcome
from experiments.benchmark.spec import (
    FLAX,
    OURS,
    TORCH,
    Dtype,
    Images,
    Net,
    Phase,
    Spec,
    configure,
    default_contestants,
    has_torch,
    step_config,
)
from experiments.studies import experiments
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically

What = Literal["step", "compile", "epoch", "convolutions", "input"]
STEP_ALONE = "step alone"
PLACEMENTS = {"device": "loop, images on the device", "host": "loop, images on the host"}


@dataclass(frozen=True)
class Grid:
    """What `--all` measures, and what options mean that are left out."""

    what: tuple[What, ...] = ("step", "compile", "epoch", "convolutions")
    nets: tuple[Net, ...] = ("resnet-20", "resnet-56", "resnet-110", "resnet-50")
    depth_nets: tuple[Net, ...] = ("resnet-20", "resnet-56", "resnet-110", "resnet-302", "resnet-1202")
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16")
    phases: tuple[Phase, ...] = ("train", "eval")
    cifar_batch_sizes: tuple[int, ...] = (32, 128, 512)
    imagenet_batch_sizes: tuple[int, ...] = (32, 128)
    cifar_batch_size: int = 128
    imagenet_batch_size: int = 32
    cpu_steps: int = 1
    gpu_steps: int = 20
    """Enough that the host's part at their end does not show."""


GRID = Grid()
WHOLE = ("what", "nets", "depth_nets", "dtypes", "phases")
"""Options that `--all` sets."""
SERVES: dict[str, tuple[What, ...]] = {
    "nets": ("step",),
    "phases": ("step",),
    "steps": ("step",),
    "images": ("step",),
    "processes": ("step",),
    "depth_nets": ("compile",),
    "compile_repeats": ("compile",),
    "batch_sizes": ("step", "compile"),
    "dtypes": ("step", "compile"),
    "contestants": ("step", "compile"),
    "peer": ("step", "compile"),
    "repeats": ("step", "epoch", "convolutions"),
    "warmup": ("step", "epoch", "convolutions"),
    "data_path": ("epoch", "input"),
    "batches": ("input",),
    "device_rate": ("input",),
}
"""Options that say nothing to what else is measured."""


@dataclass(frozen=True)
class Benchmark:
    """Measures, and prints a table."""

    what: tuple[What, ...] = ("step",)
    """Time of a step; of its compilation, by depth; of an epoch of the training loop, with its data; of single
    convolutions and their gradients, beside JAX's own; of images made from files, for which see input.py."""
    nets: tuple[Net, ...] = ("resnet-20", "resnet-56")
    """For steps. resnet-50 is the ImageNet net at 224 pixels with projections, the others are CIFAR's at 32 with option
    A."""
    images: tuple[Images, ...] = ()
    """For steps of CIFAR's nets: 8x8x1 as scikit-learn's digits, 16x16x3, or 32x32x3, which none means as well."""
    batch_sizes: tuple[int, ...] = ()
    """For steps; compilation takes the first. None: 128, for resnet-50 32."""
    dtypes: tuple[Dtype, ...] = ("float32",)
    phases: tuple[Phase, ...] = ("train",)
    """For steps."""
    depth_nets: tuple[Net, ...] = ("resnet-20", "resnet-56", "resnet-110")
    """For compilation. PyTorch takes no part in it."""
    contestants: tuple[str, ...] = ()
    """Of resnet_jax, flax, torch-eager, torch-compiled; resnet_jax:FIELD=VALUE,... changes our configuration, and
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
    """For input: batches of 64 images that each loader makes."""
    device_rate: float = 3000.0
    """For input: images that a device takes in a second, for the number of cores that it needs."""
    all: bool = False
    """The whole grid: all of `what`, every net, dtype and phase, several batch sizes. Hours on a CPU."""
    out: Path | None = None
    """JSON file for options, machine, versions, and the time of every round; written after each case."""
    render: tuple[Path, ...] = ()
    """Print such files as Markdown; measure nothing."""


def main(argv: list[str] | None = None) -> int:
    """Parses, measures, prints the tables; returns the exit status."""
    words = sys.argv[1:] if argv is None else argv
    program = "python -m experiments.benchmark"
    chosen = tyro.cli(Benchmark, args=words, prog=program, description=__doc__)
    if chosen.render or "--render" in words:
        if not chosen.render:
            raise UserError("render: got nothing; legal: one or more files.")
        print("\n".join(table.render(file) for file in chosen.render), end="")
        return cli.OK
    if chosen.all:
        for name in WHOLE:
            if getattr(chosen, name) != getattr(Benchmark, name):
                raise UserError(f"all: got {_option(name)} too, which it sets itself; legal: one of the two.")
        chosen = dataclasses.replace(chosen, **{name: getattr(GRID, name) for name in WHOLE})
    if "input" in chosen.what:
        if chosen.what != ("input",) or chosen.data_path is None:
            raise UserError("what: got input; legal: that alone, with --data-path.")
        _checked(chosen)
        input_speed.main(chosen.data_path, batches=chosen.batches, device_rate=chosen.device_rate, out=chosen.out)
        return cli.OK
    run = _Run(_checked(chosen), f"{program} {shlex.join(words)}".strip())
    try:
        run.go()
    finally:
        # What was measured before Ctrl-C, too.
        if run.record["results"]:
            table.show(run.record, Console())
    return cli.OK if any(not row.get("failed") for row in run.record["results"]) else cli.BAD_INPUT


def _checked(chosen: Benchmark) -> Benchmark:
    """`chosen`, once it is sure that it can be measured: minutes later is too late for a mistake."""
    for name in ("repeats", "processes", "compile_repeats", "steps", "batches"):
        value = getattr(chosen, name)
        if value is not None and value < 1:
            raise UserError(f"{name}: got {value}; legal: a whole number above 0.")
    if chosen.warmup < 0:
        raise UserError(f"warmup: got {chosen.warmup}; legal: a whole number of at least 0.")
    if len(set(chosen.contestants)) < len(chosen.contestants):
        raise UserError(f"contestants: got {' '.join(chosen.contestants)}; legal: each once.")
    if chosen.data_path is not None and not chosen.data_path.is_dir():
        raise UserError(f"data-path: {chosen.data_path} is no directory.")
    for name in ("what", "nets", "dtypes", "phases", "depth_nets"):
        values = getattr(chosen, name)
        if not values or len(set(values)) < len(values):
            raise UserError(f"{_option(name)}: got {' '.join(values) or 'nothing'}; legal: one or more, each once.")
    for contestant in chosen.contestants:
        for batch_size in chosen.batch_sizes or (GRID.cifar_batch_size, GRID.imagenet_batch_size):
            configure(contestant, step_config("resnet-20", batch_size, "float32"))
    for batch_size in chosen.batch_sizes:
        step_config("resnet-20", batch_size, "float32")
    for name, served in SERVES.items():
        if getattr(chosen, name) != getattr(Benchmark, name) and not set(served) & set(chosen.what):
            raise UserError(
                f"{_option(name)}: got a value, which --what {' '.join(chosen.what)} does not use; "
                f"legal: with --what {' or '.join(served)}."
            )
    if chosen.what == ("compile",) and len(chosen.batch_sizes) > 1:
        sizes = " ".join(map(str, chosen.batch_sizes))
        raise UserError(f"{_option('batch_sizes')}: got {sizes}; legal: one, to compile.")
    if "compile" in chosen.what and chosen.contestants and not _of_jax(chosen.contestants):
        raise UserError(f"contestants: got {' '.join(chosen.contestants)}; legal: {OURS} or {FLAX} too, to compile.")
    if "step" in chosen.what and chosen.contestants and not _here(chosen.contestants):
        raise UserError("contestants: PyTorch is not installed, so none is left: pip install -e '.[parity]'")
    tasks: list[Literal["step", "compile"]] = [task for task in ("step", "compile") if task in chosen.what]
    known = {name for task in tasks for name in _competing(chosen, task)}
    if chosen.peer is not None and chosen.peer not in known:
        raise UserError(f"peer: got {chosen.peer!r}; legal: one of the contestants, {', '.join(sorted(known))}.")
    if chosen.out is not None:
        if chosen.out.is_dir():
            raise UserError(f"out: {chosen.out} is a directory; legal: a file.")
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=chosen.out.parent).close()
    return chosen


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _competing(chosen: Benchmark, task: Literal["step", "compile"]) -> Sequence[str]:
    """Who competes in steps or compilation, here or where PyTorch is installed."""
    contestants = chosen.contestants or default_contestants(task)
    return contestants if task == "step" else _of_jax(contestants)


def _peer(chosen: Benchmark, contestants: Sequence[str]) -> str:
    """To whom the ratios of these contestants are taken."""
    if chosen.peer is not None and chosen.peer in contestants:
        return chosen.peer
    return TORCH[0] if TORCH[0] in contestants else FLAX


def _of_jax(contestants: Sequence[str]) -> list[str]:
    return [name for name in contestants if not name.startswith(TORCH)]


def _here(contestants: Sequence[str]) -> list[str]:
    """Those that can run on this machine."""
    return list(contestants) if has_torch() else _of_jax(contestants)


class _Run:
    """The cases of one call of the command, and their record."""

    def __init__(self, chosen: Benchmark, command: str) -> None:
        self.chosen = chosen
        self.record: dict[str, Any] = {
            "schema": table.SCHEMA,
            "command": command,
            "options": json.loads(json.dumps(dataclasses.asdict(chosen), default=str)),
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "environment": {},
            "limits": [],
            "results": [],
        }

    def go(self) -> None:
        """All cases, one after another; the record is written after each."""
        measure: dict[What, Callable[[], None]] = {
            "step": self._steps,
            "compile": self._compiling,
            "epoch": self._epochs,
            "convolutions": self._convolutions,
        }
        for what in self.chosen.what:
            measure[what]()

    def _steps(self) -> None:
        wanted = _competing(self.chosen, "step")
        contestants = _here(wanted)
        missing = [name for name in wanted if name not in contestants]
        if missing:
            _tell(f"PyTorch is not installed, so {', '.join(missing)} are left out: pip install -e '.[parity]'")
        platform = self._limits()
        steps = self._steps_together(platform)
        for net in self.chosen.nets:
            for batch_size in self._batch_sizes(net):
                for dtype in self.chosen.dtypes:
                    config = step_config(net, batch_size, dtype)
                    for phase, images in itertools.product(self.chosen.phases, self.chosen.images or (None,)):
                        warmup = self.chosen.warmup
                        specs = [
                            Spec("step", name, configure(name, config), phase, steps, warmup, platform, images)
                            for name in contestants
                        ]
                        self._case("step", specs, _peer(self.chosen, contestants))

    def _steps_together(self, platform: str) -> int:
        """How many are timed together on a platform; "": not known yet, and so a GPU's where there is one."""
        platform = platform or ("gpu" if jobs.gpus() else "cpu")
        return self.chosen.steps or (GRID.cpu_steps if platform == "cpu" else GRID.gpu_steps)

    def _batch_sizes(self, net: Net) -> tuple[int, ...]:
        imagenet = step_config(net, 1, "float32").model.family == "imagenet"
        if self.chosen.batch_sizes:
            return self.chosen.batch_sizes
        if self.chosen.all:
            return GRID.imagenet_batch_sizes if imagenet else GRID.cifar_batch_sizes
        return (GRID.imagenet_batch_size if imagenet else GRID.cifar_batch_size,)

    def _limits(self) -> str:
        """Measures the device's limits; returns JAX's platform, "cpu" or "gpu"."""
        platform = ""
        for library in [limits.JAX] + [limits.TORCH] * has_torch():
            for i, dtype in enumerate(self.chosen.dtypes):
                config = step_config("resnet-20", GRID.cifar_batch_size, dtype)
                whats = (limits.MATMUL, limits.COPY) if i == 0 else (limits.MATMUL,)
                _tell(f"limits of the device, {dtype}, by {library}")
                names = [f"{what}, {library}" for what in whats]
                steps = self._steps_together(platform)
                specs = [Spec("limit", name, config, "train", steps, self.chosen.warmup, platform) for name in names]
                outcomes = race.race(specs, self.chosen.repeats, _tell)
                self._note(outcomes)
                self.record["limits"] += table.limits(outcomes, dtype)
            platform = "cpu" if self.record["environment"].get("platform", "cpu") == "cpu" else "gpu"
        return platform

    def _compiling(self) -> None:
        contestants = _competing(self.chosen, "compile")
        for net in self.chosen.depth_nets:
            for dtype in self.chosen.dtypes:
                config = step_config(net, self._batch_sizes(net)[0], dtype)
                specs = [Spec("compile", name, configure(name, config)) for name in contestants]
                self._case("compile", specs, _peer(self.chosen, contestants))

    def _epochs(self) -> None:
        named = experiments()
        configs: list[ExperimentConfig] = [named["digits-resnet"]]
        if self.chosen.data_path is not None:
            configs.append(override(named["folder-resnet"], {"data.path": str(self.chosen.data_path)}))
        for config in configs:
            specs = [
                Spec("loop", name, override(config, {"data.placement": placement}), warmup=self.chosen.warmup)
                for name, placement in [(STEP_ALONE, "device"), *((name, place) for place, name in PLACEMENTS.items())]
            ]
            self._case("epoch", specs, STEP_ALONE)

    def _convolutions(self) -> None:
        _tell("convolutions, beside JAX's own")
        config = step_config("resnet-20", GRID.cifar_batch_size, "float32")
        answer = race.answer(Spec("convolutions", OURS, config, steps=self.chosen.repeats, warmup=self.chosen.warmup))
        self.record["environment"] = self.record["environment"] or answer["environment"]
        self.record["results"] += convolutions.rows(answer["found"])
        self._write()

    def _case(self, what: What, specs: list[Spec], peer: str) -> None:
        case, net = specs[0].config, table.net_name(specs[0].config)
        images = table.images_name(specs[0])
        _tell(f"{what}: {net}, {images}, batch {case.train.batch_size}, {case.model.dtype}, {specs[0].phase}")
        repeats = self.chosen.compile_repeats if what == "compile" else self.chosen.repeats
        outcomes = race.race(specs, repeats, _tell, processes=self.chosen.processes if what == "step" else 1)
        self._note(outcomes)
        compared = next((outcome for outcome in outcomes if outcome.contestant == peer), None)
        self.record["results"] += [
            table.result(what, spec, outcome, compared, self.record["limits"])
            for spec, outcome in zip(specs, outcomes, strict=True)
        ]
        self._write()

    def _write(self) -> None:
        if self.chosen.out is not None:
            write_atomically(self.chosen.out, json.dumps(self.record, indent=1) + "\n")

    def _note(self, outcomes: list[Outcome]) -> None:
        """Keeps what the processes said of the machine, once: all are on it."""
        for outcome in outcomes:
            self.record["environment"] = self.record["environment"] or outcome.environment
            if "torch" in outcome.facts and self.record["environment"]:
                self.record["environment"]["versions"]["torch"] = outcome.facts["torch"]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    cli.run_main(main)
