"""Look inside nets: apply an instrument (a kind of measurement) to one net, or compare several.

    python -m experiments.analyze --help      # the instruments; each has --help too
    python -m experiments.analyze layer-responses runs/digits-depth/plain-20-seed0 runs/digits-depth/resnet-20-seed0
    python -m experiments.analyze gradient-flow digits-plain:model.depth=110 digits-resnet:model.depth=110
    python -m experiments.analyze figures runs/analysis/lesions.json  # draw again, without JAX

Each net is the directory of a finished run. Instruments that measure initial values also take an experiment with
changes: NAME:field=value,field=value, such as digits-resnet:depth=56,shortcut=B. The numbers are written to
<out>/<instrument>.json, and the figures to the same folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import tyro

from experiments import cli, machine
from experiments.options import parse
from experiments.studies import experiments
from experiments.study import parse_changes, variant_name
from resnet_jax.analysis.instruments import instrument, instruments
from resnet_jax.analysis.options import Options, Workspace
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.errors import UserError
from resnet_jax.files import write_atomically
from resnet_jax.record import CONFIG_FILE, RECORD_FILE, read_config, read_record
from resnet_jax.text import nearest

if TYPE_CHECKING:
    from resnet_jax.analysis.net import Loader, Net

FIGURES = "figures"
T = TypeVar("T")


@dataclass(frozen=True)
class Analyze(Generic[T]):
    """Command line: an instrument, the nets that it measures, and the output folder."""

    nets: tyro.conf.Positional[tuple[str, ...]]
    """Run directories. Instruments that measure initial values also take experiments with changes, such as
    digits-plain:model.depth=110."""
    options: Annotated[T, tyro.conf.arg(name="")]
    out: Path = Path("runs/analysis")
    """Folder for the numbers (JSON) and the figures."""
    compiled: Path = Path("runs")
    """Folder of the cache of compiled programs."""


@dataclass(frozen=True)
class Figures:
    """Draw the figures of measurements again, into the folders of their JSON files."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """JSON files of measurements."""


def main(argv: list[str] | None = None) -> int:
    """Measures the nets, writes the numbers and draws the figures; returns the exit status."""
    kinds = instruments()
    lines = {name: _first_sentence(options) for name, options in kinds.items()}
    lines[FIGURES] = "Draw the figures of measurements again, from their JSON files."
    words = sys.argv[1:] if argv is None else argv
    name, rest = cli.first_word(words, "analyze", "instrument", list(lines), lines)
    program = f"python -m experiments.analyze {name}"
    if name == FIGURES:
        files = parse(Figures, rest, program=program, description=Figures.__doc__).files
        if not files:
            raise UserError(f"files: none given; usage: {program} FILE.json [MORE ...]")
        for file in files:
            _draw(file)
        return cli.OK
    kind = kinds[name]
    arguments: Any = Analyze[kind]  # type: ignore[valid-type]  # known when it runs
    chosen: Analyze[Any] = parse(arguments, rest, program=program, description=inspect.cleandoc(kind.__doc__ or ""))
    sources = _sources(chosen.nets, program, looks_at=kind.looks_at)
    if kind.double:
        os.environ["JAX_ENABLE_X64"] = "1"  # JAX reads it only when it is imported
    machine.use_compilation_cache(chosen.compiled)
    cli.check_folder(chosen.out, "out")
    chosen.out.mkdir(parents=True, exist_ok=True)
    file = chosen.out / f"{name}.json"
    measured = _without_nan(_measure(name, sources, chosen.options, chosen.out))
    measured["command"] = shlex.join(["python", "-m", "experiments.analyze", *words])
    write_atomically(file, json.dumps(measured, allow_nan=False) + "\n")
    _draw(file)
    return cli.OK


def _measure(name: str, sources: Sequence[Source], options: Options, out: Path) -> dict[str, Any]:
    import jax

    from resnet_jax import __version__
    from resnet_jax.analysis.net import Loader
    from resnet_jax.training.environment import code_version, processor

    loader = Loader(print)
    nets = [source.load(loader, source.name) for source in sources]
    _same_data(nets)
    rows, scratches = [], []
    for number, net in enumerate(nets):
        workspace = Workspace(_progress, out / f".{name}-{number}.part")
        start = time.monotonic()
        with jax.default_matmul_precision(net.config.model.precision):
            found = instrument(name).measure(net.in_float64() if options.double else net, options, workspace)
        rows.append({**net.facts, "seconds": round(time.monotonic() - start, 1), **found})
        scratches.append(workspace.scratch)
    for scratch in scratches:
        assert scratch is not None
        scratch.unlink(missing_ok=True)
    first = jax.devices()[0]
    device = processor() if first.platform == "cpu" else first.device_kind
    data = {"name": nets[0].dataset.name, "fingerprint": nets[0].dataset.fingerprint}
    return {
        "instrument": name,
        "version": __version__,
        "environment": {"code": code_version(), "device": device},
        "data": data,
        "options": dataclasses.asdict(options),
        "nets": rows,
    }


def _without_nan(values: Any) -> Any:
    """Replaces NaN and infinity by None, because JSON lacks them."""
    if isinstance(values, dict):
        return {name: _without_nan(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _draw(file: Path) -> None:
    # matplotlib is slow to import.
    from resnet_jax.reports.figures.draw import draw

    for path in (file, *draw(file)):
        print(path)


# --- which nets ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A net that the command line names, before it is loaded."""

    name: str
    load: Callable[[Loader, str], Net]
    """Function that loads the net; its arguments are a loader and a name for the net."""


def _sources(words: Sequence[str], program: str, *, looks_at: str) -> list[Source]:
    """Finds the nets that `words` name, and gives each net a short name that no other net has.

    Args:
      words: the nets on the command line.
      program: the command before the nets, for messages.
      looks_at: the nets that the instrument can measure, a value of `Options.looks_at`.

    Raises:
      UserError: there is no word; a word occurs twice; or the instrument cannot measure what a word names.
    """
    if not words:
        raise UserError(f"nets: none given; usage: {program} RUN [MORE ...], where RUN is a run directory.")
    if len(set(words)) < len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise UserError(f"nets: got {twice!r} twice; legal: each net once.")
    sources = [_source(word, looks_at=looks_at) for word in words]
    names = _without_what_is_common([source.name for source in sources])
    without_seeds = [name.rsplit("-seed", 1)[0] for name in names]
    for shorter in (without_seeds, names, list(words)):
        if len(set(shorter)) == len(shorter):
            break
    return [dataclasses.replace(source, name=name) for source, name in zip(sources, shorter, strict=True)]


def _without_what_is_common(names: Sequence[str]) -> list[str]:
    """Removes from each name the changes that all names contain, such as -iterations=1200."""
    if len(names) == 1:
        return list(names)
    parts = [re.split(r"-(?=\w+=)|-(?=seed\d+$)", name) for name in names]
    common = set.intersection(*(set(of_one[1:]) for of_one in parts))
    return ["-".join((of_one[0], *(part for part in of_one[1:] if part not in common))) for of_one in parts]


def _source(word: str, *, looks_at: str) -> Source:
    directory, takes_configurations = Path(word).expanduser(), looks_at != "trained"
    if directory.is_dir():
        name = directory.resolve().name
        if not any((directory / file).exists() for file in (RECORD_FILE, CONFIG_FILE)):
            raise UserError(f"{directory}: not a run directory: it has neither {CONFIG_FILE} nor {RECORD_FILE}.")
        if looks_at == "initial":
            config = _config(directory)
            return Source(name, lambda loader, name: loader.untrained(config, name, directory))
        if not (directory / RECORD_FILE).exists():
            raise UserError(f"{directory}: this run has not finished; to resume it, run the command that started it.")
        return Source(name, lambda loader, name: loader.trained(directory, name))
    experiment, _, text = word.partition(":")
    named = experiments()
    if takes_configurations and experiment in named:
        changes = parse_changes(named[experiment], text) if text else {}
        config = override(named[experiment], changes)
        return Source(variant_name(config, changes), lambda loader, name: loader.untrained(config, name))
    if experiment in named:
        raise UserError(f"nets: got {word!r}; this instrument takes only finished runs.")
    hint = f", nor an experiment; {nearest(experiment, list(named))}" if takes_configurations else "."
    raise UserError(f"{word}: no such run directory{hint}")


def _config(directory: Path) -> ExperimentConfig:
    if (directory / CONFIG_FILE).exists():
        return read_config(directory / CONFIG_FILE)
    return read_record(directory / RECORD_FILE).config


def _same_data(nets: Sequence[Net]) -> None:
    for net in nets[1:]:
        if net.dataset.fingerprint != nets[0].dataset.fingerprint:
            raise UserError(
                f"nets: {nets[0].name} and {net.name} have different data, {nets[0].dataset.name} and "
                f"{net.dataset.name}; legal: nets with the same data."
            )


def _first_sentence(options: type[Options]) -> str:
    assert options.__doc__ is not None
    return " ".join(options.__doc__.split()).partition(": ")[0] + "."


@contextlib.contextmanager
def _progress(total: int, what: str) -> Iterator[Callable[[], None]]:
    # Imported here: the package of data loads JAX.
    from resnet_jax.data.progress import columns

    bar = columns()
    if bar.disable:
        print(what, flush=True)
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


if __name__ == "__main__":
    cli.run_main(main)
