"""An ablation: its variants, its bad input, and one through to its page."""

from pathlib import Path
from typing import Any

import pytest

from experiments.ablate import main, variants
from experiments.studies import experiments
from experiments.study import parse_changes
from resnet_jax.config import override
from resnet_jax.errors import UserError

BASE = override(experiments()["digits-resnet"], {"model.depth": 56})


@pytest.mark.parametrize(
    ("word", "changes"),
    [
        ("cut=stage2_block3", {"model.cut": ["stage2_block3"]}),
        ("cut=stage1,stage2", {"model.cut": ["stage1", "stage2"]}),
        ("model.shortcut=B", {"model.shortcut": "B"}),
        ("survival=0.5", {"model.survival": 0.5}),
        ("learning-rate=1e-2", {"optim.learning_rate": 0.01}),
        ("width=8,learning-rate=0.01", {"model.width": 8, "optim.learning_rate": 0.01}),
        ("skip_init=0,width=8", {"model.skip_init": 0, "model.width": 8}),
        ("flip=true", {"data.flip": True}),
        ("width=None", {"model.width": None}),
    ],
)
def test_a_variant_is_fields_and_values(word: str, changes: dict[str, Any]) -> None:
    assert parse_changes(BASE, word) == changes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shortcutt=B"], "shortcutt: no such field; did you mean 'shortcut'"),
        (["momentum=0.5"], "model.norm.momentum, optim.momentum"),
        (["shortcut=A"], "changes nothing"),
        (["width=16"], "changes nothing"),  # what the papers have where no width is given
        (["width=8", "cut=stage2", "model.width=8"], "the same as width=8"),
        (["survival=0.5", "model.survival=0.50"], "the same as survival=0.5"),
        (["seed=1"], "--seeds"),
        (["gate_bias=0"], "model.gate_bias"),
        (["shortcut=D"], "model.shortcut: got 'D'"),
    ],
)
def test_bad_variants_are_refused_in_a_sentence(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        variants(BASE, words)


def test_an_ablation_without_variants_says_how() -> None:
    with pytest.raises(UserError, match="variants: none given"):
        main(["digits-resnet", "--model.depth=8"])


@pytest.mark.parametrize("seeds", [[], ["0", "0"]])
def test_seeds_are_given_each_once(seeds: list[str]) -> None:
    with pytest.raises(UserError, match=r"seeds: got .*; legal: one or more different whole numbers"):
        main(["digits-resnet", "width=8", "--seeds", *seeds])


def test_a_dry_run_lists_baseline_and_variants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["digits-resnet", "shortcut=B", "--seeds", "0", "1", "--runs", str(tmp_path), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "0 of 4 runs finished" in shown
    assert list(tmp_path.iterdir()) == []


def test_an_ablation_trains_compares_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--model.depth=8", "--model.width=2", "--train.iterations=4", "--optim.milestones", "2", "--seeds", "0"]
    command = ["digits-resnet", *small, "--runs", str(tmp_path)]
    assert main([*command, "cut=stage2"]) == 0
    (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith("ablate"))
    report = (folder / "report" / "report.md").read_text()
    assert "skips cut: stage2" in report
    assert "experiments.train digits-resnet" in report
    first = (folder / "resnet-8-seed0" / "record.json").read_bytes()
    assert main([*command, "cut=stage2", "shortcut=B"]) == 0  # one variant more: the others are not trained again
    assert (folder / "resnet-8-seed0" / "record.json").read_bytes() == first
    assert "shortcut: B" in (folder / "report" / "report.md").read_text()
    assert "run 3 of 3" in capsys.readouterr().out
