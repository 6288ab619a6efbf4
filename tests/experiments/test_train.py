"""What experiments.train does besides training: a summary with memory, and a trace."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.train import TRACED, WARM, main

SMALL = ("digits-resnet", "--model.depth=8", "--model.width=2", "--train.batch-size=16")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts in an empty folder."""
    monkeypatch.chdir(tmp_path)


def test_a_trace_of_a_few_steps_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--profile", "trace"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["trace"]  # no run directory, no compiled programs
    (folder,) = (tmp_path / "trace" / "plugins" / "profile").iterdir()
    assert list(folder.glob("*.xplane.pb"))  # TensorBoard's
    printed = capsys.readouterr().out
    (file,) = re.findall(r"open (\S+) at https://ui\.perfetto\.dev", printed)
    assert "tensorboard --logdir trace" in printed
    trace: Any = json.loads(gzip.decompress(Path(file).read_bytes()))
    steps = {int(e["args"]["step_num"]) for e in trace["traceEvents"] if e.get("name") == "train_step"}
    assert steps == set(range(WARM + 1, WARM + TRACED + 1))


def test_the_help_of_profile_states_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["digits-resnet", "--help"])
    words = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert f"Write a trace of {TRACED} steps, after {WARM} warm ones" in words


def test_a_file_where_the_trace_should_go_is_found_before_anything_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trace").write_text("no folder")
    monkeypatch.setattr("resnet_jax.training.program.prepare", lambda *_: pytest.fail("compiled"))
    with pytest.raises(FileExistsError):  # which experiments.cli tells in a sentence
        main([*SMALL, "--profile", "trace"])


def test_the_summary_puts_the_compilers_memory_beside_the_formulas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--train.batch-size=1024", "--model.remat", "--summary"]) == 0
    printed = capsys.readouterr().out
    assert "1024 images at once" in printed
    numbers = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in printed.splitlines() if "│" in line}
    # 928 numbers of 4 bytes for each image, as tests/models/test_summary.py counts them by hand.
    assert numbers["activations kept for the backward pass, with remat"] == "3.8"
    assert float(numbers["compiler: temporaries (gradients, activations, scratch)"]) > 3.0
    assert float(numbers["compiler: arguments (state, images on the device)"]) > 0.05
    assert list(tmp_path.iterdir()) == []


def test_a_summary_stands_without_the_devices_of_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--parallel.devices=16", "--summary"]) == 0
    printed = capsys.readouterr().out
    assert "training, on each device, 1 image at once" in printed
    assert "No figures of the compiler: parallel.devices: got 16; legal: 1 to 8" in printed


@pytest.mark.slow
def test_the_second_seed_of_a_net_compiles_nothing(tmp_path: Path) -> None:
    """By JAX's own count: what it did not find among the compiled programs beside the runs."""
    counted = """
import sys
import jax
from experiments.train import main
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.rsplit("/", 1)[-1]))
assert main(sys.argv[1:]) == 0
print(events.count("cache_hits"), events.count("cache_misses"))
"""
    counts = []
    for seed in (0, 1):
        words = [*SMALL, "--train.iterations=2", "--optim.milestones", "1", f"--seed={seed}", "--runs=runs"]
        done = subprocess.run(
            [sys.executable, "-c", counted, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        counts.append([int(count) for count in done.stdout.split()[-2:]])
        assert (tmp_path / "runs" / "digits-resnet").exists()
    (_, first), (hits, second) = counts
    assert first > 0
    assert hits > 0
    # Programs that take less than 0.1 s to compile are not kept, and the two steps are none of those.
    assert second == 0, counts
