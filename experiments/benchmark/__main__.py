"""Measure speed: steps, compilation, epochs and convolutions, compared with Flax, PyTorch, and the device's limits.

    python -m experiments.benchmark
    python -m experiments.benchmark --nets resnet-50 --batch-sizes 128 256 --dtypes bfloat16 --phases train eval
    python -m experiments.benchmark --what compile --depth-nets resnet-20 resnet-110 resnet-1202
    python -m experiments.benchmark --what convolutions
    python -m experiments.benchmark --what input --data-path PICTURES
    python -m experiments.benchmark --what processes --nets resnet-20 --images digits cifar
    python -m experiments.benchmark --contestants resnet_jax resnet_jax:model.remat=True torch-eager --out FILE.json
    python -m experiments.benchmark --render FILE.json

A contestant is one program that is timed: resnet_jax, or a peer such as flax or torch-eager. All contestants compute
the same function: the paper's net with BN over the whole batch, no augmentation, mean cross-entropy, SGD with momentum
and weight decay, on one batch of random images that is already on the device.

Each contestant has a separate process. In each round, every contestant is timed once. A ratio compares two times of the
same round: 1.25 x PEER means 1.25 times the speed of PEER. The table shows medians and quartiles over the rounds.

Use an idle machine, because other programs slow contestants by different factors. They slow PyTorch the most: in every
layer, its threads wait for each other.

The process of resnet_jax has the settings of malloc that this project's commands use; "+malloc" after a peer's name
gives the peer the same settings. Contestants of PyTorch need PyTorch: pip install -e '.[parity]'.
"""

import dataclasses
import itertools
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console

from experiments import cli, jobs
from experiments.benchmark import input as input_speed, limits, processes as over_processes, race, results, table
from experiments.benchmark.options import (
    BATCH_SIZES,
    STEPS,
    WHOLE,
    Benchmark,
    What,
    check,
    competing,
    option,
    peer_of,
    runnable,
)
from experiments.benchmark.race import Outcome
from experiments.benchmark.spec import OURS, STEP_ALONE, NetName, Spec, configure, step_config
from experiments.options import parse
from experiments.studies import experiments
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.errors import UserError
from resnet_jax.files import write_json

PLACEMENTS = {"device": "loop, images on the device", "host": "loop, images on the host"}


def main(argv: list[str] | None = None) -> int:
    """Runs the measurements and prints their tables; returns the exit status."""
    words = sys.argv[1:] if argv is None else argv
    program = "python -m experiments.benchmark"
    chosen = parse(Benchmark, words, program=program, description=__doc__)
    if chosen.render or "--render" in words:
        if not chosen.render:
            raise UserError("render: got nothing; legal: one or more files.")
        print("\n".join(table.render(file) for file in chosen.render), end="")
        return cli.OK
    if chosen.all:
        for name in WHOLE:
            if getattr(chosen, name) != getattr(Benchmark, name):
                raise UserError(f"all: got --{option(name)} too, but --all sets this option itself; omit one of them.")
        chosen = dataclasses.replace(chosen, **WHOLE)
    if "input" in chosen.what and chosen.what != ("input",):
        raise UserError(f"what: got {' '.join(chosen.what)}; legal: input without other measurements.")
    if chosen.what == ("input",) and chosen.data_path is None:
        raise UserError("data-path: none given; legal with --what input: a folder of images.")
    cases = Cases(check(chosen), f"{program} {shlex.join(words)}".strip())
    try:
        cases.measure()
    finally:
        # Prints the measurements so far, also after Ctrl-C.
        if cases.record["results"]:
            table.show(cases.record, Console())
    return cli.OK if any(not row.get("failed") for row in cases.record["results"]) else cli.BAD_INPUT


class Cases:
    """The measurements of one command, and their record."""

    def __init__(self, chosen: Benchmark, command: str) -> None:
        self.chosen = chosen
        options = json.loads(json.dumps(dataclasses.asdict(chosen), default=str))
        self.record = results.new_record(command, options=options)

    def measure(self) -> None:
        """Takes all measurements, one after another; writes the record after each."""
        parts: dict[What, Callable[[], None]] = {
            "step": self._steps,
            "compile": self._compiling,
            "epoch": self._epochs,
            "convolutions": self._convolutions,
            "input": self._input,
            "processes": self._processes,
        }
        for what in self.chosen.what:
            parts[what]()

    def _steps(self) -> None:
        wanted = competing(self.chosen, "step")
        contestants = runnable(wanted)
        missing = [name for name in wanted if name not in contestants]
        if missing:
            cli.warn(f"PyTorch is not installed, so {', '.join(missing)} are left out: pip install -e '.[parity]'")
        platform = self._limits()
        steps, warmup = self._steps_together(platform), self.chosen.warmup
        for config in self._configs(self.chosen.nets):
            for phase, images in itertools.product(self.chosen.phases, self.chosen.images or (None,)):
                specs = [
                    Spec("step", name, configure(name, config), phase, steps, warmup, platform, images)
                    for name in contestants
                ]
                self._case("step", specs, peer_of(self.chosen, contestants))

    def _configs(self, nets: Sequence[NetName], most: int | None = None) -> Iterator[ExperimentConfig]:
        """Yields a configuration for each of `nets`, with each batch size and each dtype of the options.

        Only the first `most` batch sizes of a net are used; None: all.
        """
        for net in nets:
            for batch_size, dtype in itertools.product(self._batch_sizes(net)[:most], self.chosen.dtypes):
                yield step_config(net, batch_size, dtype)

    def _steps_together(self, platform: str) -> int:
        """The number of steps that are timed together.

        `platform` is JAX's platform, "cpu" or "gpu"; "" if JAX's platform is not known yet.
        """
        return self.chosen.steps or STEPS[platform or ("gpu" if jobs.gpus() else "cpu")]

    def _batch_sizes(self, net: NetName) -> tuple[int, ...]:
        usual, whole = BATCH_SIZES[step_config(net, 1, "float32").model.family]
        return self.chosen.batch_sizes or (whole if self.chosen.all else (usual,))

    def _limits(self) -> str:
        """Measures the device's limits; returns JAX's platform, "cpu" or "gpu"."""
        platform, chosen = "", self.chosen
        for library in limits.libraries():
            cli.warn(f"limits of the device, by {library}")
            steps = self._steps_together(platform)
            specs = limits.specs(library, chosen.dtypes, steps=steps, warmup=chosen.warmup, platform=platform)
            outcomes = race.race(specs, chosen.repeats, cli.warn)
            self._note(outcomes)
            self.record["limits"] += results.limits(specs, outcomes)
            platform = results.platform(self.record)
        return platform

    def _compiling(self) -> None:
        contestants = competing(self.chosen, "compile")
        for config in self._configs(self.chosen.depth_nets, most=1):
            specs = [Spec("compile", name, configure(name, config)) for name in contestants]
            self._case("compile", specs, peer_of(self.chosen, contestants))

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
        cli.warn("convolutions, beside JAX's own")
        config = step_config("resnet-20", 1, "float32")
        answer = race.answer(Spec("convolutions", OURS, config, steps=self.chosen.repeats, warmup=self.chosen.warmup))
        self.record["environment"] = self.record["environment"] or answer["environment"]
        self.record["results"] += results.convolutions(answer["found"])
        self._write()

    def _input(self) -> None:
        assert self.chosen.data_path is not None, "checked by main"
        self.record["results"], self.record["environment"] = input_speed.measure(
            self.chosen.data_path,
            batches=self.chosen.batches,
            feed_batches=self.chosen.feed_batches,
            device_rate=self.chosen.device_rate,
            note=cli.warn,
        )
        self._write()

    def _processes(self) -> None:
        for config, images in itertools.product(self._configs(self.chosen.nets), self.chosen.images or (None,)):
            repeats, warmup = self.chosen.repeats, self.chosen.warmup
            cli.warn(f"processes: {results.net_name(config)}, batch {config.train.batch_size}, {config.model.dtype}")
            rows, self.record["environment"] = over_processes.measure(config, images, repeats=repeats, warmup=warmup)
            self.record["results"] += rows
            self._write()

    def _case(self, what: What, specs: list[Spec], peer: str) -> None:
        case, net = specs[0].config, results.net_name(specs[0].config)
        images = results.images_name(specs[0])
        cli.warn(f"{what}: {net}, {images}, batch {case.train.batch_size}, {case.model.dtype}, {specs[0].phase}")
        repeats = self.chosen.compile_repeats if what == "compile" else self.chosen.repeats
        outcomes = race.race(specs, repeats, cli.warn, processes=self.chosen.processes if what == "step" else 1)
        self._note(outcomes)
        compared = next((outcome for outcome in outcomes if outcome.contestant == peer), None)
        for spec, outcome in zip(specs, outcomes, strict=True):
            self.record["results"].append(results.result(what, spec, outcome, compared, self.record["limits"]))
        self._write()

    def _write(self) -> None:
        if self.chosen.out is not None:
            write_json(self.chosen.out, self.record)

    def _note(self, outcomes: list[Outcome]) -> None:
        """Copies the facts about the machine from `outcomes` into the record, if the record does not have them yet."""
        for outcome in outcomes:
            self.record["environment"] = self.record["environment"] or outcome.environment
            if "torch" in outcome.facts and self.record["environment"]:
                self.record["environment"]["versions"]["torch"] = outcome.facts["torch"]


if __name__ == "__main__":
    cli.run_main(main)
