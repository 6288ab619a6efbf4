"""A study runs what is missing of it, once, whatever happens to one of its runs."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from experiments import sweep
from experiments.studies import experiments, studies
from experiments.study import Study, grid, variant_name
from resnet_jax.config import ExperimentConfig, override
from resnet_jax.errors import UserError
from resnet_jax.record import read_record
from resnet_jax.training import loop
from resnet_jax.training.run_directory import RunDirectory

TINY = override(
    experiments()["digits-resnet"],
    {"model.depth": 8, "model.width": 1, "train.iterations": 2, "train.eval_every": 0, "optim.milestones": ()},
)
STUDY = Study("tiny", TINY, grid(model__shortcut=("none", "A")), seeds=(0, 1))


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(sweep, "studies", lambda: {"tiny": (STUDY, "a tiny study")})
    monkeypatch.setattr("experiments.machine.use_compilation_cache", lambda runs: None)
    return STUDY


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that the sweep starts."""
    names: list[str] = []
    original: Any = sweep.train

    def noting(config: ExperimentConfig, directory: Path, **rest: Any) -> Any:
        names.append(directory.name)
        return original(config, directory, **rest)

    monkeypatch.setattr(sweep, "train", noting)
    return names


ALL = ["plain-8-seed0", "plain-8-seed1", "resnet-8-seed0", "resnet-8-seed1"]


def test_a_sweep_runs_everything_and_the_second_time_nothing(
    study: Study, ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep.main(["tiny", "--runs", str(tmp_path)]) == 0
    assert ran == ALL
    said = [line for line in capsys.readouterr().out.splitlines() if "to go" in line or line.startswith("All")]
    assert said[0].startswith("0 of 4 runs finished, 4 to go;")
    for done, line in enumerate(said[1:4], start=1):
        assert re.fullmatch(
            rf"{done} of 4 runs finished, {4 - done} to go: about [\d.]+ \w+ left \(from {done} finished runs?.*", line
        )
    assert said[4:] == ["All 4 runs finished."]
    assert all(read_record(tmp_path / "tiny" / name / "record.json").status == "finished" for name in ALL)
    assert sweep.main(["tiny", "--runs", str(tmp_path), "--jobs", "2"]) == 0  # and starts no process for it
    assert ran == ALL
    text = capsys.readouterr().out
    assert text.startswith(f"tiny: all runs are finished (4), in {tmp_path}/tiny.\n")
    assert "processes" not in text


def test_dry_run_lists_and_touches_nothing(
    study: Study, ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep.main(["tiny", "--runs", str(tmp_path), "--dry-run"]) == 0
    assert ran == []
    assert list(tmp_path.iterdir()) == []
    text = capsys.readouterr().out
    assert all(name in text for name in ALL)


def test_some_of_the_runs(study: Study, ran: list[str], tmp_path: Path) -> None:
    assert sweep.main(["tiny", "--runs", str(tmp_path), "--only", ALL[0], "*-seed1"]) == 0
    assert ran == [name for name in ALL if name == ALL[0] or name.endswith("-seed1")]
    with pytest.raises(UserError, match=re.escape("only: got '*-seed7', which no run's name matches")):
        sweep.main(["tiny", "--runs", str(tmp_path), "--only", "*-seed7"])


def test_shards_partition_the_runs(study: Study, ran: list[str], tmp_path: Path) -> None:
    parts = []
    for i in (1, 2, 3):
        sweep.main(["tiny", "--runs", str(tmp_path), "--shard", f"{i}/3"])
        parts.append(list(ran))
        ran.clear()
    assert sorted(name for part in parts for name in part) == ALL
    assert [len(p) for p in parts] == [2, 1, 1]


def test_a_part_without_runs_says_so(
    study: Study, ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--dry-run", "--jobs=1"):
        assert sweep.main(["tiny", "--runs", str(tmp_path), "--shard", "5/5", option]) == 0
        assert "tiny, part 5 of 5: this part has no run" in " ".join(capsys.readouterr().out.split())
    assert not ran


def test_a_record_from_elsewhere_counts(study: Study, ran: list[str], tmp_path: Path) -> None:
    sweep.main(["tiny", "--runs", str(tmp_path / "there"), "--shard", "1/2"])
    (tmp_path / "here").mkdir()
    (tmp_path / "there" / "tiny").rename(tmp_path / "here" / "tiny")
    for stray in (tmp_path / "here").rglob("checkpoints"):
        assert stray.is_dir()
    ran.clear()
    sweep.main(["tiny", "--runs", str(tmp_path / "here")])
    assert ran == [ALL[1], ALL[3]]


def test_a_damaged_record_fails_alone(
    study: Study, ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny" / ALL[0]).mkdir(parents=True)
    (tmp_path / "tiny" / ALL[0] / "record.json").write_text("{")
    assert sweep.main(["tiny", "--runs", str(tmp_path)]) == 2
    text = capsys.readouterr().out
    assert "3 of 4 runs finished, 1 failed" in text
    assert (tmp_path / "tiny" / ALL[0] / "record.json").read_text() == "{"  # nothing of the user's is overwritten


def test_a_diverged_run_counts_and_the_sweep_goes_on(study: Study, ran: list[str], tmp_path: Path) -> None:
    assert sweep.main(["tiny", "--runs", str(tmp_path), "--optim.learning-rate=1e30", "--train.iterations=5"]) == 0
    assert ran == ALL
    assert {read_record(tmp_path / "tiny" / name / "record.json").status for name in ALL} == {"diverged"}
    ran.clear()
    assert sweep.main(["tiny", "--runs", str(tmp_path), "--optim.learning-rate=1e30", "--train.iterations=5"]) == 0
    assert ran == []


def test_a_run_in_other_hands_is_left_to_them(
    study: Study, ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunDirectory(tmp_path / "tiny" / ALL[1], STUDY.runs()[ALL[1]]):
        assert sweep.main(["tiny", "--runs", str(tmp_path)]) == 0
    assert "3 of 4 runs finished, 1 run by another process" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "a/b", "1", "1/2/3", "-1/2"])
def test_an_impossible_shard(text: str) -> None:
    with pytest.raises(UserError, match="legal: i/n"):
        sweep.parse_shard(text)


def test_every_committed_study_is_legal_and_names_its_runs_apart() -> None:
    for name, (study, line) in studies().items():
        runs = study.runs()
        assert len(runs) == len(study.variants) * len(study.seeds), name
        assert line.endswith((".", "?")), f"{name}: a docstring begins with a sentence"
        assert len(set(runs.values())) == len(runs)


def test_digits_depth_is_the_study_of_the_readme() -> None:
    runs = studies()["digits-depth"][0].runs()
    nets = {(c.model.net, c.model.depth, c.seed) for c in runs.values()}
    assert nets == {(n, d, s) for n in ("plain", "resnet") for d in (8, 20, 32, 56) for s in range(5)}
    # Twins differ in the shortcut alone.
    plain, residual = runs["plain-56-seed0"], runs["resnet-56-seed0"]
    assert override(plain, {"model.shortcut": "A"}) == residual


def test_grid_is_every_combination() -> None:
    assert grid(model__depth=(8, 20), seed=(0,)) == ({"model.depth": 8, "seed": 0}, {"model.depth": 20, "seed": 0})


def test_a_variant_says_what_was_changed() -> None:
    changes = {"model.depth": 56, "model.shortcut": "none", "optim.learning_rate": 0.05, "optim.milestones": (1, 2)}
    config = override(TINY, changes)
    assert variant_name(config, changes) == "plain-56-learning_rate=0.05-milestones=1,2"


def test_a_path_in_a_variant_stays_inside_its_folder() -> None:
    changes = {"data.path": "../../data/x.npz"}
    config = override(TINY, {"data.source": "npz", **changes})
    name = variant_name(config, changes)
    assert Path(name).name == name
    assert "x.npz" in name
    assert name != variant_name(config, {"data.path": "../data/x.npz"})


def test_a_change_that_the_study_would_undo_is_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.shortcut: got 'B', but the runs of tiny differ in this field"):
        sweep.main(["tiny", "--runs", str(tmp_path), "--model.shortcut=B"])
    before = STUDY.base.model.shortcut  # typed all the same
    with pytest.raises(UserError, match=rf"model\.shortcut: got '{before}', but the runs of tiny differ in this field"):
        sweep.main(["tiny", "--runs", str(tmp_path), f"--model.shortcut={before}"])
    with pytest.raises(UserError, match="use --seeds"):
        sweep.main(["tiny", "--runs", str(tmp_path), "--seed=3"])


def test_a_change_that_some_variants_keep_is_not() -> None:
    study, _ = studies()["finetune-small"]
    assert [c.finetune.weights for c in study.runs((0,)).values()].count(None) == 2
    chosen = sweep.Sweep(override(study.base, {"finetune.weights": "net", "data.path": "five"}))
    sweep._check(chosen, study, {})


def test_ctrl_c_while_a_run_ends_stops_the_sweep(
    study: Study, ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Any = loop.Trainer._finish

    def interrupted(self: Any, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    monkeypatch.setattr(loop.Trainer, "_finish", interrupted)
    with pytest.raises(KeyboardInterrupt, match="has just finished"):
        sweep.main(["tiny", "--runs", str(tmp_path)])
    assert ran == ALL[:1]
    assert read_record(tmp_path / "tiny" / ALL[0] / "record.json").status == "finished"


def test_an_impossible_number_of_jobs(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="jobs: got 0; legal: a whole number above 0, or 'auto'"):
        sweep.main(["tiny", "--runs", str(tmp_path), "--jobs", "0"])
    monkeypatch.setattr("experiments.jobs.gpus", lambda: ["0", "1"])
    with pytest.raises(UserError, match=r"legal: 1, because a run needs parallel\.devices=2 GPUs"):
        sweep.main(["tiny", "--runs", str(tmp_path), "--jobs", "auto", "--parallel.devices=2"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("gpus", "processes"), [([], 3), (["0", "1"], 2), (["5"], 1)])
def test_as_many_jobs_as_there_are_gpus_or_cores(
    gpus: list[str], processes: int, study: Study, ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr("experiments.jobs.gpus", lambda: gpus)
    monkeypatch.setattr("experiments.jobs.cores", lambda: [0, 1, 2])
    monkeypatch.setattr("experiments.jobs.run", lambda words, shares, told: started.extend(shares) or [0] * len(shares))
    monkeypatch.setattr(sweep, "_run_missing", lambda *rest: (started.append("here"), (0, 0))[1])
    assert sweep.main(["tiny", "--runs", str(tmp_path), "--jobs", "auto"]) == 0
    assert [share if share == "here" else share.gpu for share in started] == (
        ["here"] if processes == 1 else gpus or [None] * 3
    )
