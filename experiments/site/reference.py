"""Makes the reference pages from the code: commands, configurations, records, and the public Python API."""

import dataclasses
import inspect
import os
import subprocess
import sys
import typing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import resnet_jax
from experiments.__main__ import COMMANDS
from experiments.site.fields import fields_of, one_line, table
from experiments.studies import experiments, studies
from resnet_jax import record
from resnet_jax.analysis.instruments import instruments
from resnet_jax.config import ExperimentConfig, Section
from resnet_jax.record import schema

KINDS = {
    "net": "the function that the net computes",
    "data": "the images and labels, and how they are prepared for the net",
    "place": "where the images are",
    "recipe": "how the net is trained and evaluated",
    "operational": "how a run is carried out; no result changes beyond rounding",
}
RECORD_PARTS = [cls for cls in vars(schema).values() if getattr(cls, "__module__", "") == schema.__name__]
WIDTH = 100
"""Width of the help texts, in columns."""
GROUPS = {
    "Configurations": [name for name in resnet_jax.__all__ if name.endswith("Config")],
    "Nets and weights": ["build", "load_weights", "Weights", "Classifier"],
    "Runs": ["train", "read_record", "RunRecord", "UserError"],
}
"""Headings of the Python page with their names; all other names are for users who write their own training loop."""


def commands() -> str:
    """Makes the page that describes all commands, with their help texts, and lists all experiments and studies."""
    with ThreadPoolExecutor(2) as pool:
        helps = dict(zip(COMMANDS, pool.map(_help, COMMANDS), strict=True))
    parts = [
        "# Commands",
        "Each command is run as `python -m experiments.NAME` in the root of a checkout. `python -m experiments` lists "
        "the commands, the experiments and the studies. The texts below are what `--help` prints.",
        table(["command", "what it does"], [[f"[{name}](#{name})", _linked(line)] for name, line in COMMANDS.items()]),
        *(f"## {name}\n\n{_linked(COMMANDS[name])}\n\n```text\n{text}\n```" for name, text in helps.items()),
        "## Experiments\n\nNames that `train` takes. Each is a configuration in `experiments/studies`.",
        table(
            ["experiment", "net and data", "steps"],
            [
                [
                    f"`{name}`",
                    f"{c.model.net}-{c.model.depth} on {c.data.name or c.data.source}",
                    f"{c.train.iterations:,}",
                ]
                for name, c in experiments().items()
            ],
        ),
        "## Studies\n\nNames that `sweep` takes. A study is a base configuration, its variants, and seeds.",
        table(
            ["study", "what it compares", "nets", "seeds", "stated cost"],
            [
                [f"`{name}`", line, str(len(s.variants)), str(len(s.seeds)), s.cost.text if s.cost else ""]
                for name, (s, line) in studies().items()
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def configuration() -> str:
    """Makes the page that describes all fields of the configuration."""
    parts = [
        "# Configuration",
        "An `ExperimentConfig` describes a whole run. It is made of sections, each a frozen dataclass that checks its "
        "values when it is built. On the command line a field is written `--section.field`, with hyphens for "
        "underscores: `--model.depth=56`, `--optim.learning-rate=0.05`.",
        "A value that has no effect beside the other values is refused. *Needs* says when a field has an effect. The "
        "column *describes* says what a field is about:",
        table(["describes", "meaning"], [[kind, text] for kind, text in KINDS.items()]),
    ]
    for name, cls in sections(ExperimentConfig):
        parts += [f"## {name}", one_line(cls.__doc__), _section(name, cls)]
    parts += ["## Top level", _section("", ExperimentConfig)]
    return "\n\n".join(parts) + "\n"


def records() -> str:
    """Makes the page that describes the files in a run directory, and all fields of the record."""
    files = inspect.getdoc(record) or ""
    parts = [
        "# Run directory and record",
        files,
        "Losses are mean cross-entropies in nats. Errors are fractions between 0 and 1. Times are wall-clock seconds.",
        "`read_record`, `read_metrics` and `read_gradients` of `resnet_jax.record` read these files as the dataclasses "
        "below. JSON has the same names, with an object for each nested class and `null` for `None`.",
    ]
    for cls in reversed(RECORD_PARTS):  # the whole before its parts
        rows = [[f"`{f.name}`", f"`{f.type}`", f.text] for f in fields_of(cls)]
        parts += [f"## {cls.__name__}", one_line(cls.__doc__), table(["field", "type", "meaning"], rows)]
    return "\n\n".join(parts) + "\n"


def python() -> str:
    """Makes the page on the public Python names. It has a directive for each; mkdocstrings inserts the docstring."""
    grouped = {name for names in GROUPS.values() for name in names}
    groups = {**GROUPS, "For a training loop of your own": [n for n in resnet_jax.__all__ if n not in grouped]}
    parts = ["# Python", "All of these are attributes of `resnet_jax`.", _names()]
    for heading, names in groups.items():
        parts.append(f"## {heading}")
        if heading == "Configurations":
            parts.append("[Configuration](configuration.md) explains each field.")
        # The fields of configurations have a separate page.
        options = "\n    options: {members: false, show_signature: false}" if heading == "Configurations" else ""
        parts += [f"::: resnet_jax.{name}{options}" for name in names]
    return "\n\n".join(parts) + "\n"


PAGES = {
    "reference/commands.md": commands,
    "reference/configuration.md": configuration,
    "reference/record.md": records,
    "reference/python.md": python,
}


def _names() -> str:  # the table in the docstring of resnet_jax
    lines = (resnet_jax.__doc__ or "").splitlines()
    return "\n".join(line for line in lines if line.startswith("|"))


def sections(cls: type[Section], prefix: str = "") -> Iterator[tuple[str, type[Section]]]:
    """Yields every section of a configuration with its dotted name. Outer sections come first."""
    for name, hint in typing.get_type_hints(cls).items():
        if isinstance(hint, type) and issubclass(hint, Section):
            yield f"{prefix}{name}", hint
            yield from sections(hint, f"{prefix}{name}.")


def _section(name: str, cls: Any) -> str:
    roles, defaults = cls.roles(), {field.name: field.default for field in dataclasses.fields(cls)}
    rows = []
    for field in fields_of(cls):
        if field.name not in roles:  # a section inside this one, which has a separate table
            continue
        role = roles[field.name]
        needs = f" *Needs* `{role.needs.words}`." if role.needs is not None else ""
        option = f"{name}.{field.name}".removeprefix(".")
        rows.append([f"`{option}`", f"`{defaults[field.name]!r}`", role.of, f"{field.text}{needs}"])
    return table(["field", "default", "describes", "meaning"], rows)


def _linked(line: str) -> str:
    words, separator, example = line.partition("python -m ")
    return f"{words}`{separator}{example}`" if separator else line


def _help(command: str) -> str:
    texts = [_run(command, "--help")]
    if command == "analyze":
        texts += [_run(command, name, "--help") for name in instruments()]
    return "\n\n".join(texts)


def _run(command: str, *words: str) -> str:
    environment = {**os.environ, "COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    line = [sys.executable, "-m", f"experiments.{command}", *words]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=True)
    return done.stdout.strip()
