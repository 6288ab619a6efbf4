"""Words of a command line: what they become, and which option was probably meant."""

import io
import os
import sys

import pytest

from experiments.options import meant, options, parse, typed_fields
from experiments.studies import experiments
from experiments.train import Train
from resnet_jax.config import ExperimentConfig, flatten, to_dict
from resnet_jax.errors import UserError

DEFAULT = Train(experiments()["digits-resnet"])


def train(*words: str) -> Train:
    return parse(Train, words, program="train", description=None, default=DEFAULT)


def test_every_field_of_the_configuration_is_an_option() -> None:
    found = options(Train, DEFAULT)
    fields = {name.replace("_", "-") for name in flatten(to_dict(DEFAULT.config))}
    assert fields <= found.keys()
    assert found.keys() - fields >= {"runs", "directory", "summary"}
    assert (found["model.remat"], found["summary"], found["model.depth"]) == (True, True, False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model.remat"], True),
        (["--model.remat=True"], True),
        (["--model.remat", "true"], True),
        (["--model.no-remat"], False),
        (["--model.remat=False"], False),
        (["--model.remat", "False"], False),
    ],
)
def test_a_switch_may_have_its_value(words: list[str], expected: bool) -> None:
    assert train(*words).config.model.remat is expected


@pytest.mark.parametrize("words", [["--model.depth=56"], ["--model.depth", "56"]])
def test_a_value_may_follow_an_equals_sign_or_a_space(words: list[str]) -> None:
    assert train(*words).config.model.depth == 56


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("lr", "--optim.learning-rate?"),
        ("optim.lr", "--optim.learning-rate?"),
        ("model.bs", "--train.batch-size?"),
        ("wd", "--optim.weight-decay?"),
        ("bs", "--train.batch-size?"),
        ("batch", "--train.batch-size?"),
        ("epochs", "--train.iterations?"),
        ("depth", "--model.depth?"),
        ("learning_rate", "--optim.learning-rate?"),
        ("model.depht", "--model.depth?"),
        ("depht", "--model.depth?"),
        ("qqqq", "train --help."),
    ],
)
def test_the_option_that_was_meant(typed: str, expected: str) -> None:
    assert meant(typed, list(options(Train, DEFAULT)), "train").endswith(expected)


def test_where_there_are_few_options_all_are_named() -> None:
    assert meant("bogus", ["out", "check"], "report") == "legal: --out, --check."


@pytest.mark.parametrize(
    ("words", "option", "legal"),
    [
        (["--model.depth=deep"], "--model.depth", "a whole number"),
        (["--optim.learning-rate=fast"], "--optim.learning-rate", "a number"),
        (["--model.shortcut=Z"], "--model.shortcut", "'none', 'A', 'B', 'C'"),
        (["--model.remat=maybe"], "--model.remat", "True or False"),
        (["--model.depth"], "--model.depth", "missing"),
    ],
)
def test_a_value_that_is_not_legal_names_the_option_and_what_is(words: list[str], option: str, legal: str) -> None:
    with pytest.raises(UserError) as error:
        train(*words)
    sentence = str(error.value)
    assert option in sentence
    assert legal in sentence
    assert "\n" not in sentence
    assert "│" not in sentence


def test_a_word_that_belongs_to_no_option_is_named() -> None:
    with pytest.raises(UserError, match="'56'"):
        train("--summary", "56")


def test_a_field_is_typed_even_with_the_value_that_it_had() -> None:
    config = ExperimentConfig()
    words = ["--model.depth=20", "--optim.learning-rate", "0.1", "--model.no-remat", "--runs=elsewhere"]
    found = typed_fields(words, config)
    assert found == {"model.depth": config.model.depth, "optim.learning_rate": 0.1, "model.remat": False}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model.depth=57"], "model.depth: got 57; legal: 6n+2 with basic blocks, here 56 or 62."),
        (["--model.depth=deep"], "--model.depth: got 'deep'; legal: a whole number."),
        (
            ["--optim.milestones=120,180"],
            "--optim.milestones: got '120,180'; legal: one or more numbers, with spaces between them.",
        ),
        (["--seed", "9" * 70 + "x"], f"--seed: got '{'9' * 70}x'; legal: a whole number."),
    ],
)
def test_the_sentence_is_the_same_on_every_terminal(
    words: list[str], sentence: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tyro draws a box in UTF-8 or in ASCII, as wide as the terminal is."""
    monkeypatch.setenv("COLUMNS", "45")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    with pytest.raises(UserError) as error:
        train(*words)
    assert str(error.value) == sentence
    assert os.environ["COLUMNS"] == "45"
