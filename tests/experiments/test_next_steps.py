"""The commands that a report suggests are those of its runs, and each is one that its command takes."""

import dataclasses
import shlex
from pathlib import Path

import pytest
import tyro

from experiments.analyze import Analyze
from experiments.next_steps import repeat, suggestions, typed
from experiments.report import ReportArgs, main
from experiments.studies import experiments, studies
from experiments.sweep import Sweep
from experiments.train import Train
from resnet_jax.analysis.instruments import instruments
from resnet_jax.config import flatten, override, to_dict
from resnet_jax.reports.runs import read_runs
from tests.reports.factory import write_run

STUDY = studies()["digits-depth"][0]


def write_runs(root: Path, depths: tuple[int, ...] = (20, 56), *, checkpoints: bool = True) -> Path:
    """Runs of digits-depth, of invented errors; its folder."""
    for name, config in STUDY.runs().items():
        if config.model.depth in depths:
            net, error = config.model.net, 0.6 if config.model.is_plain and config.model.depth == 56 else 0.01
            changes = {
                k: v for k, v in flatten(to_dict(config.in_iterations())).items() if k not in ("model.depth", "seed")
            }
            error += 0.001 * config.seed
            directory = write_run(root, net, config.model.depth, config.seed, error, run=name, changes=changes)
            if checkpoints:
                (directory / "checkpoints" / "240").mkdir(parents=True)
    return root / STUDY.name


def words(folder: Path) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {step.commands[0][0]: step.commands for step in suggestions(read_runs([folder]))}


def test_control_ablation_and_lesions_of_the_runs_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_runs(Path("runs"))
    assert words(Path("runs/digits-depth")) == {
        "experiments.sweep": (
            ("experiments.sweep", "digits-depth-long", "--jobs=auto"),
            ("experiments.report", "runs/digits-depth", "runs/digits-depth-long"),
        ),
        "experiments.train": (("experiments.train", "digits-resnet", "--model.depth=56", "--model.cut=stage2_block5"),),
        "experiments.analyze": (
            (
                "experiments.analyze",
                "lesions",
                "runs/digits-depth/plain-56-seed0",
                "runs/digits-depth/resnet-56-seed0",
            ),
        ),
    }


def test_each_command_is_parsed_as_it_is_typed(tmp_path: Path) -> None:
    """Also in a folder with a blank in its name, over several lines."""
    found = words(write_runs(tmp_path / "my runs"))
    lines = {name: [typed(command, 80) for command in commands] for name, commands in found.items()}
    parsed = {
        name: [shlex.split(line.replace("\\\n", ""))[2:] for line in each]  # without python and -m
        for name, each in lines.items()
    }
    assert {name: [tuple(command) for command in each] for name, each in parsed.items()} == {
        name: list(commands) for name, commands in found.items()
    }
    sweep, report = parsed["experiments.sweep"]
    control = studies()[sweep[1]][0]
    assert tyro.cli(Sweep, default=Sweep(control.base), args=sweep[2:]).runs == tmp_path / "my runs"
    assert tyro.cli(ReportArgs, args=report[1:]).directories == (
        tmp_path / "my runs" / "digits-depth",
        tmp_path / "my runs" / "digits-depth-long",
    )
    (train,) = parsed["experiments.train"]
    chosen = tyro.cli(Train, default=Train(experiments()[train[1]]), args=train[2:])
    assert chosen.runs == tmp_path / "my runs"
    twin = STUDY.runs()["resnet-56-seed0"]
    assert dataclasses.replace(chosen.config, model=dataclasses.replace(chosen.config.model, cut=())) == twin
    assert chosen.config.model.cut == ("stage2_block5",)
    (analyze,) = parsed["experiments.analyze"]
    arguments = tyro.cli(Analyze[instruments()["lesions"]], args=analyze[2:])  # type: ignore[misc]
    assert all((Path(net) / "record.json").exists() for net in arguments.nets)


def test_nothing_is_suggested_that_cannot_be_done(tmp_path: Path) -> None:
    folder = write_runs(tmp_path, checkpoints=False)
    assert "experiments.analyze" not in words(folder)  # records alone, copied from elsewhere
    write_run(tmp_path, "plain", 56, iterations=720, study="digits-depth-long")
    assert "experiments.sweep" not in words(tmp_path)  # the control is here already
    assert "experiments.train" in words(tmp_path)
    write_run(tmp_path, "resnet", 20, study="digits-depth", changes={"model.cut": ("stage2_block1",)})
    assert "experiments.train" not in words(tmp_path)  # a net without one of its shortcuts is here already
    other = tmp_path / "other"
    write_run(other, "resnet", 20, study="digits-depth", changes={"optim.momentum": 0.8, "data.validation": 100})
    assert words(other) == {}  # another configuration than the study's, far from every experiment


def test_a_long_run_is_repeated_with_its_number_of_iterations_alone(tmp_path: Path) -> None:
    """Its milestones are the experiment's shares of that number."""
    config = STUDY.runs()["resnet-20-seed0"]
    changes = {k: v for k, v in flatten(to_dict(config)).items() if k not in ("model.depth", "seed")}
    changes |= {"train.iterations": 100_000, "optim.milestones": (50_000, 75_000)}
    write_run(tmp_path, "resnet", 20, changes=changes)
    (run,) = read_runs([tmp_path / "digits-depth"]).complete
    assert repeat(run) == "python -m experiments.train digits-resnet --train.iterations 100000"


def test_the_screen_has_the_answer_of_a_control(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(tmp_path)
    long = studies()["digits-depth-long"][0]
    for name, config in long.runs().items():
        if config.model.net == "plain" and config.model.depth == 56:
            changes = flatten(to_dict(config.in_iterations()))
            write_run(tmp_path, "plain", 56, config.seed, 0.3, study=long.name, run=name, changes=changes)
    assert main([str(tmp_path / "digits-depth"), str(tmp_path / long.name)]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    assert "Control: degradation, or too little training? Part of the gap was slow optimisation: 30.20 points" in screen


def test_the_screen_ends_with_answer_table_next_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write_runs(Path("runs"))
    assert main(["runs/digits-depth"]) == 0
    screen = capsys.readouterr().out
    answer, table, following, page = (
        screen.index(text) for text in ("plain nets degrade", "training error, ", "\nNext:\n", "report.html")
    )
    assert answer < table < following < page
    assert screen.splitlines()[-1] == "runs/digits-depth/report/report.html"
    long = [line for line in screen.splitlines() if len(line) > 80]
    assert all(line.count("/") > 3 and " \\" not in line[:-2] for line in long), long  # a path of this machine alone


def test_the_control_is_given_the_path_of_the_data(tmp_path: Path) -> None:
    study = studies()["cifar10-depth-small-images"][0]
    for name, config in study.runs().items():
        changes = {k: v for k, v in flatten(to_dict(config)).items() if k not in ("model.depth", "seed")}
        changes["data.path"] = "../cifar10-jpeg"
        write_run(
            tmp_path, config.model.net, config.model.depth, config.seed, study=study.name, run=name, changes=changes
        )
    sweep = words(tmp_path / study.name)["experiments.sweep"][0]
    assert sweep[1:] == (
        "cifar10-depth-small-images-control",
        f"--runs={tmp_path}",
        "--data.path=../cifar10-jpeg",
        "--jobs=auto",
    )


def test_a_command_repeats_no_field_without_effect(tmp_path: Path) -> None:
    """Images of a file have no name in TFDS; the experiment that they are trained with has one."""
    config = override(experiments()["cifar10-resnet"], {"data.source": "npz", "data.path": "own.npz"})
    changes = {k: v for k, v in flatten(to_dict(config)).items() if k not in ("model.depth", "seed")}
    write_run(tmp_path / "own", "resnet", config.model.depth, study="own", changes=changes)
    (command,) = words(tmp_path / "own")["experiments.train"]
    assert command[1:4] == ("cifar10-resnet", "--data.source=npz", "--data.path=own.npz")
