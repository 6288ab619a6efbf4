"""Parses the command line of a command into a dataclass; a mistake becomes an error message of one sentence.

The library tyro does the parsing. This module adds three things. Switches may have a value, as in `--model.remat=True`.
"~" is expanded in paths. An error of tyro becomes a UserError that suggests the option that was probably meant.
"""

import ast
import contextlib
import dataclasses
import difflib
import io
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from resnet_jax.config import ExperimentConfig, flatten, one_spelling, to_dict
from resnet_jax.errors import UserError

T = TypeVar("T")

# Names of options in other programs, and the names in this project.
USUAL = {
    "lr": "optim.learning-rate",
    "rate": "optim.learning-rate",
    "wd": "optim.weight-decay",
    "decay": "optim.weight-decay",
    "bs": "train.batch-size",
    "batch": "train.batch-size",
    "epochs": "train.iterations",
    "steps": "train.iterations",
    "dataset": "data.name",
    "data": "data.path",
    "data-dir": "data.path",
    "gpus": "parallel.devices",
    "num-gpus": "parallel.devices",
    "output": "out",
    "output-dir": "runs",
    "workdir": "runs",
}
WIDE = 10_000
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")
FEW = 12
"""Largest number of options that a message lists, if no option is similar to the given word."""


def parse(
    kind: Callable[..., T], words: Sequence[str] | None, *, program: str, description: str | None, default: Any = None
) -> T:
    """Parses the options of a command.

    Args:
      kind: the dataclass of the command.
      words: the options; None: those on the command line of this process.
      program: the command before its options, for messages.
      description: the text at the top of `--help`, in paragraphs.
      default: an instance of `kind` with the default values; None: the defaults of the class.

    Raises:
      UserError: an option does not exist, or its value is missing, has a wrong type or is not legal.
      SystemExit: `--help` was printed.
    """
    legal = options(kind, default)
    words = list(sys.argv[1:] if words is None else words)
    said = io.StringIO()
    given: dict[str, Any] = {} if default is None else {"default": default}
    # tyro cuts words that are wider than the terminal.
    wide = contextlib.nullcontext() if {"-h", "--help"} & set(words) else _columns(WIDE)
    with contextlib.redirect_stderr(said), wide:
        try:
            chosen: T = tyro.cli(
                kind, args=_switches(words, legal), prog=program, description=_paragraphs(description), **given
            )
            return _expanded(chosen)
        except SystemExit as end:
            if not end.code:
                raise
    raise UserError(_sentence(said.getvalue(), legal, program))


def _expanded(chosen: T) -> T:
    """Expands "~" in every path, because shells do not expand it in `--out=~/errors.json`."""
    assert dataclasses.is_dataclass(chosen)
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(chosen):
        value = getattr(chosen, field.name)
        if isinstance(value, ExperimentConfig):
            changed[field.name] = one_spelling(value)
        elif isinstance(value, Path):
            changed[field.name] = value.expanduser()
        elif isinstance(value, tuple) and value and all(isinstance(item, Path) for item in value):
            changed[field.name] = tuple(item.expanduser() for item in value)
    return dataclasses.replace(chosen, **changed)  # type: ignore[type-var]


@contextlib.contextmanager
def _columns(number: int) -> Iterator[None]:
    """Context in which the environment says that the terminal has this number of columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(number)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def typed_fields(words: Sequence[str], config: ExperimentConfig) -> dict[str, Any]:
    """The fields that a command line sets, as {dotted name: value}. A value may be equal to the default."""
    named = {word.removeprefix("--").partition("=")[0].replace("-", "_") for word in words if word.startswith("--")}
    # A switch may be "--model.no-remat".
    named |= {name.replace(".no_", ".", 1) for name in named}
    return {name: value for name, value in flatten(to_dict(config)).items() if name in named}


def _paragraphs(text: str | None) -> str | None:
    """Makes each command in a docstring a paragraph, because tyro joins the lines of a paragraph."""
    return text and re.sub(r"\n\s*(?=python -m )", "\n\n", text)


def options(kind: Any, default: Any = None) -> dict[str, bool]:
    """Names of the options of a dataclass, without leading dashes, and whether each is a switch (a bool)."""
    return dict(_options(typing.get_origin(kind) or kind, default, ""))


def _options(kind: Any, default: Any, prefix: str) -> Iterator[tuple[str, bool]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, name = hints[field.name], field.name.replace("_", "-")
        details = getattr(hint, "__metadata__", ())
        if tyro.conf.Positional in details:
            continue
        named = [detail.name for detail in details if getattr(detail, "name", None) is not None]
        name = named[0] if named else name
        inner = typing.get_args(hint)[0] if details else hint
        value = getattr(default, field.name, None)
        if dataclasses.is_dataclass(value) or dataclasses.is_dataclass(inner):
            section = type(value) if dataclasses.is_dataclass(value) else inner
            yield from _options(section, value, f"{prefix}{name}." if name else prefix)
        else:
            yield f"{prefix}{name}", inner is bool


def _switches(words: list[str], legal: dict[str, bool]) -> list[str]:
    """Rewrites "--name=True" and "--name True" as "--name"; "--name=False" and "--name False" as "--no-name"."""
    found, position = [], 0
    while position < len(words):
        word = words[position]
        position += 1
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and legal.get(name := name.replace("_", "-"), False):
            if not equals and position < len(words) and words[position].lower() in (TRUE[0], FALSE[0]):
                value, equals = words[position], " "
                position += 1
            if equals and value.lower() not in TRUE + FALSE:
                raise UserError(f"--{name}: got {value!r}; legal: True or False.")
            section, dot, last = name.rpartition(".")
            word = f"--{section}{dot}no-{last}" if equals and value.lower() in FALSE else f"--{name}"
        found.append(word)
    return found


def _sentence(said: str, legal: dict[str, bool], program: str) -> str:
    """Turns tyro's error message, a text in a box, into one sentence. Without UTF-8 the box consists of hyphens."""
    lines = [" ".join(re.sub("[│╭╮╰╯─]|^ *-+ *$", " ", line).split()) for line in said.splitlines()[1:]]
    whole = " ".join(line for line in lines if line)
    help_at = re.search(r" ?(For full helptext|Argument helptext|Got errors)", whole)
    text = whole[: help_at.start()] if help_at else whole
    if match := re.search(r"Unrecognized options: (.*)", text):
        tokens = match[1].replace(",", " ").split()
        word = next((token for token in tokens if token.startswith("-")), tokens[0])
        if not word.startswith("-"):
            return f"got {word!r}, which is not an option; all options: {program} --help."
        name = word.partition("=")[0]
        return f"{name}: no such option; {meant(name.lstrip('-'), list(legal), program)}"
    if match := re.search(r"invalid choice '(.*)' for argument '(.*?)'\. Expected one of \((.*?),?\)", text):
        return f"{match[2]}: got {match[1]!r}; legal: {match[3]}."
    if match := re.search(r"Error parsing (\S+): .*(?:base 10|to float): (.*)", text):
        kind = "whole number" if "base 10" in text else "number"
        return f"{match[1]}: got {match[2].strip()}; legal: a {kind}."
    if match := re.search(r"Error parsing (\S+): no type matching (.*) could be instantiated from \[(.*)\]", text):
        return f"{match[1]}: got {match[3]}; legal: {_in_words(match[2])}."
    if match := re.search(r"Missing value for argument '(.*?)'|Missing from .*?: (\S+)", text):
        return f"{match[1] or match[2]}: the value is missing."
    if match := re.search(r"Error parsing (\S+): Could not find valid parse for arguments: (\[.*\])", text):
        given = " ".join(ast.literal_eval(match[2]))
        return f"{match[1]}: got {given!r}; legal: one or more numbers, with spaces between them."
    if match := re.search(r"Error parsing \S+: (\S+: .*)", text):  # a check of the configuration
        return match[1]
    return f"{text.rstrip('. ')}; all options: {program} --help."


def _in_words(metavar: str) -> str:
    """Translates tyro's notation of legal values: INT|{auto} becomes "a whole number or 'auto'"."""
    words = {"INT": "a whole number", "FLOAT": "a number", "STR": "text", "PATH": "a path", "None": "None"}
    kinds = re.sub(r"[\[\]{}]", "", metavar).replace(",", "|").split("|")
    return " or ".join(words.get(kind.split()[0], repr(kind)) for kind in kinds if kind.strip())


def meant(name: str, legal: list[str], program: str) -> str:
    """The end of a message about an unknown option: a suggestion of options that were probably meant."""
    name = name.replace("_", "-")
    last = {option: option.rsplit(".", 1)[-1] for option in legal}
    ways: tuple[Callable[[], list[str]], ...] = (
        lambda: [option for option in legal if last[option] == name.rsplit(".", 1)[-1]],
        lambda: [option for option in legal if option == USUAL.get(name.rsplit(".", 1)[-1])],
        lambda: [option for option in legal if name in last[option].split("-")],
        lambda: difflib.get_close_matches(name, legal, n=1, cutoff=0.75),
        lambda: [o for o in legal if last[o] in difflib.get_close_matches(name, list(last.values()), n=1)],
    )
    for way in ways:
        found = way()
        if found:
            return f"did you mean {' or '.join(f'--{option}' for option in found[:3])}?"
    if len(legal) <= FEW:
        return f"legal: {', '.join(f'--{option}' for option in legal)}."
    return f"all options: {program} --help."
