"""The benchmark as a command: mistakes, and whole runs of it."""

import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments import cli
from experiments.benchmark import input as input_speed, race
from experiments.benchmark.__main__ import main
from experiments.benchmark.race import Outcome
from experiments.benchmark.spec import Spec
from resnet_jax.errors import UserError
from tests.data import pictures

MISTAKES = [
    (["--contestants", "resnet-jax"], "did you mean 'resnet_jax'"),
    (["--contestants", "flax:model.remat=True"], "legal: flax without changes"),
    (["--contestants", "resnet_jax:model.remta=True"], "did you mean 'model.remat'"),
    (["--contestants", "resnet_jax:model.remat"], "legal: field=value"),
    (["--contestants", "resnet_jax+malloc"], "legal: resnet_jax, which always runs"),
    (["--contestants", "flax", "flax"], "different contestants"),
    (["--peer", "tensorflow"], "peer: got 'tensorflow'"),
    (["--repeats", "0"], "repeats: got 0"),
    (["--processes", "0"], "processes: got 0"),
    (["--what", "compile", "--processes", "2"], "processes: has no effect with --what compile"),
    (["--warmup", "-1"], "warmup: got -1"),
    (["--batch-sizes", "0"], "batch_size: got 0"),
    (["--data-path", "nowhere"], "data-path: got nowhere; legal: a folder that exists."),
    (["--out", "."], ". is a folder"),
    (["--render"], "render: got nothing"),
    (["--nets"], "nets: got nothing"),
    (["--nets", "resnet-8", "resnet-8"], "all different"),
    (["--what", "compile", "--contestants", "torch-eager"], "also needs resnet_jax or flax"),
    (["--contestants", "resnet_jax:train.accumulation=8", "--batch-sizes", "4"], "train.batch_size: got 4"),
    (["--all", "--nets", "resnet-8"], "all: got --nets too"),
    (["--what", "convolutions", "--contestants", "flax"], "contestants: has no effect with --what convolutions"),
    (["--data-path", "tests"], "legal: with --what epoch or input."),
    (["--what", "input"], "data-path: none given; legal with --what input: a folder of images."),
    (["--what", "input", "step", "--data-path", "tests"], "what: got input step; legal: input without other"),
    (["--what", "input", "--data-path", "tests", "--feed-batches", "0"], "feed-batches: got 0"),
    (["--what", "input", "--data-path", "tests", "--device-rate", "0"], "device-rate: got 0; legal: a number above 0"),
    (["--what", "compile", "--repeats", "20"], "repeats: has no effect with --what compile"),
    (["--what", "compile", "--batch-sizes", "32", "128"], "batch-sizes: got 32 128; legal: one"),
    (["--what", "compile", "--peer", "torch-eager"], "peer: got 'torch-eager'; legal: one of the contestants, flax"),
]


@pytest.mark.parametrize(("options", "sentence"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_a_mistake_is_told_before_anything_is_measured(options: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        main(options)


def test_nothing_but_failures_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(specs: list[Spec], repeats: int, note: Any, processes: int) -> list[Outcome]:
        return [Outcome(spec.contestant, failed="out of memory") for spec in specs]

    monkeypatch.setattr(race, "race", failing)
    assert main(["--what", "compile", "--depth-nets", "resnet-8"]) == cli.BAD_INPUT


@pytest.mark.slow
def test_the_whole_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "deep" / "record.json"
    options = "--what step compile --nets resnet-8 --depth-nets resnet-8 --batch-sizes 4 --warmup 1 --repeats 2"
    options += f" --compile-repeats 1 --contestants resnet_jax flax --out {out}"
    assert main(options.split()) == cli.OK
    record = json.loads(out.read_text())
    assert record["command"] == f"python -m experiments.benchmark {options}"
    assert record["environment"]["versions"]["jax"] == jax.__version__
    steps, compiling = record["results"][:2], record["results"][2:]
    assert [row["contestant"] for row in steps] == [row["contestant"] for row in compiling] == ["resnet_jax", "flax"]
    for row in steps:
        assert len(row["seconds"]) == 2
        assert row["peer"] == "flax"
        assert row["share_of_products"] > 0.0
        # One batch of ten classes, hardly learnt yet: both begin near ln 10.
        assert row["loss"] == pytest.approx(np.log(10), rel=0.5)
    for row in compiling:
        assert row["median"] == pytest.approx(sum(part["median"] for part in row["parts"].values()))
        assert row["parts"]["compile"]["median"] > 0.0
    shown = capsys.readouterr().out
    assert "resnet-8, 32x32x3, batch 4, float32, train step" in shown
    assert main(["--render", str(out)]) == cli.OK
    assert "| resnet_jax | " in capsys.readouterr().out


def test_images_are_made_and_the_record_has_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No time is looked at, only that counts and memory are there and the tables follow from them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(input_speed, "BATCH", 4)
    others = ("torchvision", "grain", "tf.data")
    monkeypatch.setattr(input_speed, "PEERS", {k: v for k, v in input_speed.PEERS.items() if k not in others})
    pictures.write(tmp_path / "pictures")
    words = ["--what", "input", "--data-path", str(tmp_path / "pictures"), "--out", str(tmp_path / "out.json")]
    assert main([*words, "--batches", "2", "--feed-batches", "3"]) == 0
    rows = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [row["stage"] for row in rows if row["what"] == "input stage"] == ["read", "decode", "crop", "copy"]
    loaders = {row["loader"]: row for row in rows if row["what"] == "input loader"}
    kinds = ("ours", "ours, array_record", "resize, then crop")
    assert {name: row["images"] for name, row in loaders.items()} == dict.fromkeys(kinds, 8)
    (feed,) = (row for row in rows if row["what"] == "input feed")
    assert 0.0 <= feed["waited"] <= 1.0
    assert len(feed["resident_bytes"]) == 3
    # The kernel counts the pages of each thread a little late.
    assert 1e7 < max(feed["resident_bytes"]) <= 1.1 * feed["peak_resident_bytes"]
    capsys.readouterr()
    assert main(["--render", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    assert f"| ours | {8 / loaders['ours']['core_s']:,.0f} |" in printed
    assert f"| 3 of 4 | {feed['consumer_rate']:,.0f} (80 %) |" in printed


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_and_the_record_has_their_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No time is looked at."""
    out = tmp_path / "out.json"
    words = ["--what", "processes", "--nets", "resnet-8", "--images", "digits", "--batch-sizes", "16"]
    assert main([*words, "--repeats", "3", "--warmup", "0", "--out", str(out)]) == 0
    capsys.readouterr()
    rows = json.loads(out.read_text())["results"]
    steps = {row["layout"]: row for row in rows if row["what"] == "processes step"}
    one, two = steps["1 process x 2 devices"], steps["2 processes x 1 device"]
    assert len(one["seconds"]) == len(two["seconds"]) == 3
    assert one["ratio"] == 1.0
    assert two["ratio"] == sorted(a / b for a, b in zip(one["seconds"], two["seconds"], strict=True))[1]
    assert {row["call"] for row in rows if row["what"] == "processes call"} == {"agree", "any_of"}
    assert main(["--render", str(out)]) == 0
    assert "| resnet-8, 8x8x1, batch 16, float32 | 2 processes x 1 device |" in capsys.readouterr().out
