"""The command line as a stranger meets it: help, typos, wrong values, Ctrl-C."""

import errno
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import cli, machine
from experiments.studies import experiments, studies
from experiments.train import main as train_main
from resnet_jax.config import override, to_dict
from resnet_jax.errors import UserError

ROOT = Path(__file__).parents[2]


def in_a_process(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )


class Command:
    """What `python -m` does with a command's main function, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv(machine.MALLOC, "")  # a user's own, with which no process is started anew

    def __call__(self, *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        name, *rest = words
        module = importlib.import_module(name if name != "experiments" else "experiments.__main__")
        self.monkeypatch.chdir(cwd)
        self.monkeypatch.setattr(sys, "argv", [str(module.__file__), *rest])
        with pytest.raises(SystemExit) as end:
            cli.run_main(module.main)
        assert isinstance(end.value.code, int)
        return subprocess.CompletedProcess(words, end.value.code, *self.capsys.readouterr())


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


# Besides those of docs/mistakes.md.
MISTAKES = [
    (("experiments.train", "digits-plain", "--model.depth=57"), "model.depth: got 57; legal: 6n+2"),
    (("experiments.sweep", "digits-dept"), "did you mean 'digits-depth'?"),
    (("experiments.sweep", "digits-depth", "--dry-run", "--shard=3/2"), "shard: got '3/2'; legal: i/n"),
    (("experiments.sweep", "digits-depth", "--dry-run", "--seeds", "1", "1"), "seeds: got [1, 1]"),
    (("experiments.report", "nowhere"), "nowhere: no such directory"),
    (("experiments.analyze", "loss-landscape", "runs", "--points=4"), "points: got 4; legal: an odd number"),
    (("experiments", "trian"), "did you mean 'train'?"),
]


# Each command's.
FIRST = {words[0]: (words, sentence) for words, sentence in reversed(MISTAKES)}


@pytest.mark.parametrize(("words", "sentence"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_a_mistake_gets_a_sentence_and_status_2(
    words: tuple[str, ...], sentence: str, tmp_path: Path, command: Command
) -> None:
    check_mistake(command(*words, cwd=tmp_path), sentence)
    assert list(tmp_path.iterdir()) == []


def check_mistake(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert done.returncode == cli.BAD_INPUT, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("words", "sentence"), FIRST.values())
def test_so_it_does_in_a_process_of_its_own(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    check_mistake(in_a_process(*words, cwd=tmp_path), sentence)


def test_a_mistake_in_the_configuration_leaves_no_directory(tmp_path: Path, command: Command) -> None:
    command("experiments.train", "digits-plain", "--model.depth=57", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_another_configuration(tmp_path: Path, command: Command) -> None:
    place = tmp_path / "run"
    place.mkdir()
    kept = json.dumps(to_dict(override(experiments()["digits-plain"], {"model.depth": 32})))
    (place / "config.json").write_text(kept)
    done = command("experiments.train", "digits-plain", "--directory", str(place), cwd=tmp_path)
    assert done.returncode == cli.BAD_INPUT
    assert "holds a run of another configuration (model.depth is 32, not 20" in done.stderr
    assert "Traceback" not in done.stderr
    assert (place / "config.json").read_text() == kept


def test_a_half_written_record(tmp_path: Path, command: Command) -> None:
    place = tmp_path / "run"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(to_dict(experiments()["digits-plain"])))
    (place / "record.json").write_text('{"study": "dig')
    done = command("experiments.train", "digits-plain", "--directory", str(place), cwd=tmp_path)
    assert done.returncode == cli.BAD_INPUT
    assert "record.json: damaged or half-written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_where_a_directory_should_be(tmp_path: Path, command: Command) -> None:
    (tmp_path / "runs").write_text("no directory")
    done = command("experiments.train", "digits-plain", cwd=tmp_path)
    assert done.returncode == cli.BAD_INPUT
    assert done.stderr.startswith("error: ")
    assert "runs: runs is a file; legal: a folder." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "words"), [(errno.EROFS, "Read-only file system"), (errno.ENOSPC, "No space left")])
def test_a_file_system_that_refuses(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Simulated, since a test may run as root, for whom no directory is read-only.
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SystemExit) as end:
        cli.run_main(lambda: train_main(["digits-plain", "--runs", str(tmp_path / "runs")]))
    assert end.value.code == cli.BAD_INPUT
    stderr = capsys.readouterr().err
    assert words in stderr
    assert str(tmp_path / "runs" / "digits-plain") in stderr


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    def broken() -> int:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        cli.run_main(broken)


def test_help_names_every_field_of_the_configuration(command: Command) -> None:
    text = command("experiments.train", "digits-plain", "--help").stdout
    for name in (
        "--model.depth",
        "--model.norm.epsilon",
        "--optim.milestones",
        "--train.batch-size",
        "--seed",
        "--runs",
    ):
        assert name in text


def test_the_list_of_commands_experiments_and_studies(command: Command) -> None:
    text = command("experiments").stdout
    for name in ("experiments.train", "experiments.sweep", "experiments.report", "digits-plain", "digits-depth-long"):
        assert name in text


def test_the_lists_give_each_command_and_each_study_a_line_of_its_own(command: Command) -> None:
    text = command("experiments").stdout
    for name in studies():
        (line,) = re.findall(rf"^ *{name}  +(\S.*)$", text, re.MULTILINE)
        assert line.strip() == studies()[name][1]
    lines = [line for _, line in studies().values()]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("study", ["digits-depth", "cifar10-depth-small-rates"])
def test_the_help_of_a_study_has_its_purpose_its_cost_and_each_example_in_a_line(study: str, command: Command) -> None:
    text = command("experiments.sweep", study, "--help").stdout
    found, line = studies()[study]
    words = " ".join(text.split())
    assert f"{study}: {line}" in words
    assert found.cost is not None
    assert f"{len(found.variants) * len(found.seeds)} runs, which take {found.cost.text}" in words
    examples = [line.strip() for line in text.splitlines() if line.strip().startswith("python -m experiments.sweep ")]
    assert len(examples) == 3
    assert all(example.count("python -m") == 1 for example in examples)


def test_summary_prints_the_papers_numbers(command: Command) -> None:
    # CIFAR's 269,722 less the two missing input channels of the stem, 2 * 9 * 16 weights.
    # On more devices than there are, so that nothing is compiled for the figures of memory.
    done = command("experiments.train", "digits-plain", "--model.depth=20", "--parallel.devices=64", "--summary")
    assert done.returncode == cli.OK
    assert "269,434" in done.stdout


def test_first_word_prints_usage_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.first_word(["--help"], "train", "experiment", ["a", "b"])
    assert end.value.code == cli.OK
    assert "EXPERIMENT is one of\n  a\n  b" in capsys.readouterr().out
    with pytest.raises(UserError, match="none given"):
        cli.first_word(["--model.depth=20"], "train", "experiment", ["a"])


def test_sigterm_twice_is_one_request_and_ctrl_c_after_it_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(sentence: str) -> None:
        raise KeyboardInterrupt(sentence)

    monkeypatch.setattr(cli, "_leave", end)  # which ends the process
    with cli.stop_request() as stop:
        assert not stop()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_how_to_go_on_and_does(
    number: signal.Signals, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    words = ["experiments.train", "digits-resnet", "--model.depth=8", "--model.width=4", "--train.iterations=1000000"]
    words += [f"--directory={tmp_path / 'run'}", f"--runs={tmp_path_factory.getbasetemp() / 'compiled-once'}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not metrics.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(number)
    stdout, stderr = process.communicate()
    assert process.returncode == cli.INTERRUPTED
    assert b"the same command resumes the run" in stderr
    assert b"Traceback" not in stdout + stderr
    before = metrics.read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment
    )
    while metrics.read_bytes() == before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(number)
    stdout, _ = process.communicate()
    assert b"continues from the checkpoint of step" in stdout
    assert metrics.read_bytes().startswith(before)


@pytest.mark.parametrize(("flags", "devices"), [("", 3), ("--xla_force_host_platform_device_count=2", 2)])
def test_a_cpu_is_as_many_devices_as_asked_for(flags: str, devices: int) -> None:
    code = "from experiments import machine; machine.virtual_devices(3); import jax; print(jax.device_count())"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == devices
