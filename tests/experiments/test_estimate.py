"""Estimates of a sweep's time against seconds worked out by hand from records whose seconds are known."""

import dataclasses
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import studies as folder, sweep
from experiments.estimate import DECODED, Clock, Estimate, decoding, of_records, progress, work
from experiments.studies import imagenet_depth, studies
from experiments.study import CORE, GPU, StatedCost, Study, about, grid
from resnet_jax.config import ExperimentConfig, flatten, override, to_dict
from resnet_jax.record import Cost, read_record
from tests.reports.factory import write_run

RECORDS = Path(__file__).parents[2] / "experiments" / "records"
BASE = studies()["digits-depth"][0].base
STUDY = Study("tiny", BASE, grid(model__depth=(8, 20, 56), model__shortcut=("none",)), (0, 1), StatedCost(600.0, CORE))
RUNS = STUDY.runs()


def finish(root: Path, name: str, total_s: float, *, steps_s: float, config: ExperimentConfig | None = None) -> None:
    """A record of one of the runs, which took so long in all and in its steps and evaluations."""
    config = config or RUNS[name]
    changes = {k: v for k, v in flatten(to_dict(config)).items() if k not in ("model.depth", "seed")}
    directory = write_run(root, "plain", config.model.depth, config.seed, study="tiny", run=name, changes=changes)
    values = json.loads((directory / "record.json").read_text())
    cost = Cost(total_s, total_s - steps_s, 0.9 * steps_s, 0.1 * steps_s, 1.0, 1, "2026-01-01T00:00:00Z")
    (directory / "record.json").write_text(json.dumps(values | {"cost": dataclasses.asdict(cost)}))


def test_work_is_multiply_adds_times_images_times_iterations() -> None:
    """Work of plain-8 on 8x8x1 images by hand: a 3x3 stem, then pairs of 3x3 convolutions of 16, 32 and 64 channels."""
    stem, first = 64 * 9 * 1 * 16, 64 * 9 * 16 * 16 * 2
    second, third = 16 * 9 * (16 * 32 + 32 * 32), 4 * 9 * (32 * 64 + 64 * 64)
    forward = stem + first + second + third + 64 * 10
    config = RUNS["plain-8-seed0"]
    assert work(config) == 3 * forward * 128 * 240
    assert work(override(config, {"train.iterations": 480, "optim.milestones": ()})) == 2 * work(config)


def test_a_run_takes_what_the_same_net_took_with_other_seeds(tmp_path: Path) -> None:
    finish(tmp_path, "plain-8-seed0", 20.0, steps_s=15.0)
    finish(tmp_path, "plain-20-seed0", 50.0, steps_s=40.0)
    finish(tmp_path, "plain-20-seed1", 70.0, steps_s=60.0)
    found = Clock(STUDY, tmp_path / "tiny").estimate(RUNS)
    assert found is not None
    assert found.seconds["plain-8-seed1"] == pytest.approx(20.0)
    assert found.seconds.keys() == {"plain-8-seed1", "plain-56-seed0", "plain-56-seed1"}
    assert found.source == "from 3 finished runs"
    # A third seed: the mean of both.
    records = [read_record(tmp_path / "tiny" / f"plain-20-seed{seed}" / "record.json") for seed in (0, 1)]
    other = {"plain-20-seed7": dataclasses.replace(RUNS["plain-20-seed0"], seed=7)}
    assert of_records(other["plain-20-seed7"], records) == pytest.approx((60.0, 0.9 * 50.0))
    # Also where the seeds that finished are none of those that are asked for.
    asked = Clock(STUDY, tmp_path / "tiny").estimate(other)
    assert asked is not None
    assert asked.seconds == {"plain-20-seed7": pytest.approx(60.0)}


def test_another_net_takes_the_steps_of_the_nearest_in_proportion_to_the_work(tmp_path: Path) -> None:
    finish(tmp_path, "plain-8-seed0", 20.0, steps_s=15.0)
    finish(tmp_path, "plain-20-seed0", 50.0, steps_s=40.0)
    found = Clock(STUDY, tmp_path / "tiny").estimate(RUNS)
    assert found is not None
    times = work(RUNS["plain-56-seed0"]) / work(RUNS["plain-20-seed0"])
    # 18 convolutions of each width for 6, of which one in each has fewer channels to read.
    assert 3.0 < times < 3.2
    # Of plain-20, which is nearer to 56 layers than plain-8 is: 10 s of set-up, 40 s of steps.
    assert found.seconds["plain-56-seed0"] == pytest.approx(10.0 + 40.0 * times)


def test_what_is_done_of_a_run_is_no_longer_to_do(tmp_path: Path) -> None:
    finish(tmp_path, "plain-56-seed0", 100.0, steps_s=90.0)
    write_run(tmp_path, "plain", 56, 1, study="tiny", run="plain-56-seed1", finished=False)
    # Its lines of metrics end at step 96 of 240. Of 100 seconds 81 were spent in steps, and the rest is still to come.
    found = Clock(STUDY, tmp_path / "tiny").estimate(
        {name: RUNS[name] for name in ("plain-56-seed0", "plain-56-seed1")}
    )
    assert found is not None
    assert found.seconds == {"plain-56-seed1": pytest.approx(100.0 - 81.0 * 96 / 240)}


def test_where_nothing_has_finished_the_stated_cost_is_shared_out_by_work(tmp_path: Path) -> None:
    clock = Clock(STUDY, tmp_path / "tiny")
    found = clock.estimate(RUNS)
    assert found is not None
    assert sum(found.seconds.values()) == pytest.approx(600.0)
    ratio = found.seconds["plain-56-seed0"] / found.seconds["plain-20-seed0"]
    assert ratio == pytest.approx(work(RUNS["plain-56-seed0"]) / work(RUNS["plain-20-seed0"]))
    assert "stated cost, 10 min of one CPU core" in found.source
    # A third seed makes it half as much again; twice the iterations, on the command line, twice as much.
    more = clock.estimate(STUDY.runs((0, 1, 2)))
    assert more is not None
    assert sum(more.seconds.values()) == pytest.approx(900.0)
    changed = dataclasses.replace(STUDY, base=override(BASE, {"train.iterations": 480, "optim.milestones": ()}))
    twice = clock.estimate(changed.runs())
    assert twice is not None
    assert sum(twice.seconds.values()) == pytest.approx(1200.0)
    assert Clock(dataclasses.replace(STUDY, cost=None), tmp_path / "tiny").estimate(RUNS) is None


def test_a_cost_stated_for_a_gpu_is_no_estimate_where_there_is_none(tmp_path: Path) -> None:
    study = dataclasses.replace(STUDY, cost=StatedCost(600.0, GPU))
    assert Clock(study, tmp_path / "tiny").estimate(RUNS) is None
    found = Clock(study, tmp_path / "tiny", gpu=True).estimate(RUNS)
    assert found is not None
    assert sum(found.seconds.values()) == pytest.approx(600.0)


def test_a_record_of_another_configuration_tells_the_speed_and_is_not_that_run(tmp_path: Path) -> None:
    finish(tmp_path, "plain-8-seed0", 9.0, steps_s=8.0, config=override(RUNS["plain-8-seed0"], {"optim.momentum": 0.5}))
    clock = Clock(STUDY, tmp_path / "tiny")
    found = clock.estimate({"plain-8-seed1": RUNS["plain-8-seed1"]})
    assert found is not None
    assert found.seconds == {"plain-8-seed1": pytest.approx(9.0)}
    assert clock.took(RUNS) == {}


def test_records_without_a_whole_run_tell_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0, None, study="tiny", run="plain-20-seed0")  # diverged, early
    (tmp_path / "tiny" / "plain-20-seed1").mkdir()
    (tmp_path / "tiny" / "plain-20-seed1" / "record.json").write_text("{")
    found = Clock(STUDY, tmp_path / "tiny").estimate(RUNS)
    assert found is not None
    assert found.source.startswith("from the stated cost")
    assert "plain-20-seed1" in found.seconds
    assert all(Clock(STUDY, tmp_path / "tiny").by_speed_seen(name, config) is None for name, config in RUNS.items())


def test_processes_take_the_longest_first() -> None:
    runs = Estimate({"a": 5.0, "b": 4.0, "c": 3.0, "d": 3.0}, "")
    # Two: a with d, b with c; 8 and 7.
    assert [runs.left(processes) for processes in (1, 2, 3, 9)] == [15.0, 8.0, 6.0, 5.0]
    assert Estimate({}, "").left(2) == 0.0


def test_progress_in_words() -> None:
    known = Estimate({"plain-56-seed0": 300.0, "plain-56-seed1": 300.0}, "from 4 finished runs")
    assert progress(RUNS, 4, known, 1) == ("4 of 6 runs finished, 2 to go: about 10 min left (from 4 finished runs).")
    assert progress(RUNS, 4, known, 2) == (
        "4 of 6 runs finished, 2 to go: about 5 min left with 2 processes (from 4 finished runs)."
    )
    unknown = "0 of 6 runs finished, 6 to go; the time that they take is not known yet"
    assert progress(RUNS, 4, known, 2, at_once=1) == progress(RUNS, 4, known, 1).replace(
        "left", "left with 2 processes"
    )
    assert progress(RUNS, 0, None, 2) == f"{unknown}."
    assert progress(RUNS, 0, None, 2, StatedCost(4.9e5, GPU)) == (
        f"{unknown} (the whole study is stated to take 5.7 days of a GPU at 1e12 multiply-adds/s)."
    )
    assert progress(RUNS, 6, Estimate({}, ""), 2) == "All 6 runs finished."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (89, "89 s"), (240, "4 min"), (5399, "90 min"), (5400, "1.5 h"), (86400, "24 h"), (5e5, "5.8 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_the_sweep_shows_estimates_without_jax(tmp_path: Path) -> None:
    finish(tmp_path, "plain-8-seed0", 20.0, steps_s=15.0)
    (tmp_path / "tiny").rename(tmp_path / "digits-depth")
    code = (
        "import sys\n"
        "from experiments import sweep\n"
        f"sweep.main(['digits-depth', '--runs', {str(tmp_path)!r}, '--dry-run', '--jobs', '2'])\n"
        "sys.exit('jax' in sys.modules)"
    )
    root = Path(sweep.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    rows = {words[1]: words for line in done.stdout.splitlines() if (words := line.replace("\u2502", "|").split())[1:]}
    assert rows["plain-8-seed0"][9:12] == ["20", "s", "|"]
    assert rows["plain-8-seed1"][9:12] == ["~20", "s", "|"]
    number = len(studies()["digits-depth"][0].runs())
    assert f"1 of {number} runs finished, {number - 1} to go: about" in done.stdout
    assert "with 2 processes (from 1 finished run)." in done.stdout


SHAPES = {"fashion-depth": (28, 28, 1)}
CLASSES = {"cifar100-depth": 100, "cifar100-preactivation": 100, "imagenet-depth": 1000}


def test_every_study_states_its_cost_in_its_file_and_those_for_a_gpu_follow_from_their_work() -> None:
    files = [
        importlib.import_module(f"{folder.__name__}.{info.name}") for info in pkgutil.iter_modules(folder.__path__)
    ]
    texts = {
        study.name: " ".join((file.__doc__ or "").split()) for file in files for study in getattr(file, "STUDIES", ())
    }
    for name, (study, _) in studies().items():
        assert study.cost is not None, name
        assert study.cost.text in texts[name], name
        if study.cost.on == GPU:
            whole = sum(work(c, SHAPES.get(name), CLASSES.get(name, 10)) for c in study.runs().values())
            assert study.cost.seconds == pytest.approx(whole / 1e12, rel=0.01), name


def test_decoding_is_counted_at_the_rate_of_the_record() -> None:
    """7 runs of 450,360 steps of 256 images at 935 images a second: 863,150 s."""
    record = json.loads((RECORDS / "benchmark-input.json").read_text())
    (ours,) = (row for row in record["results"] if row.get("loader") == "ours")
    assert round(ours["images"] / ours["core_s"]) == DECODED == 935
    text = decoding(studies()["imagenet-depth"][0].runs())
    assert "To decode all 8.1e+08 training images takes 10.0 days of one CPU core, at 935 images" in text
    assert f"all seven runs take {7 * 450_360 * 256 / 935 / 86_400:.0f} days" in (imagenet_depth.__doc__ or "")
    assert decoding(RUNS) == ""
