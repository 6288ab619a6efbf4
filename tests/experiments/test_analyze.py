"""The command that looks inside nets: every instrument on finished runs, what it leaves, and what it refuses."""

import json
import shutil
from pathlib import Path

import jax
import pytest

from experiments import cli
from experiments.analyze import _sources, main
from resnet_jax.analysis.instruments import instruments
from resnet_jax.config import override
from resnet_jax.errors import UserError
from resnet_jax.reports.figures.draw import FIGURES
from resnet_jax.training.run import run
from tests.training.test_loop import SMALL

SHORT = override(SMALL, {"train.iterations": 8, "optim.milestones": (), "train.gradient_norms_every": 4})
OPTIONS = {
    "signal-propagation": ["--jacobians=1", "--steps=4", "--lines=1", "--points=16", "--lags=4"],
    "lesions": ["--repeats=2"],
    "loss-landscape": ["--points=3"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two finished runs, twins."""
    folder = tmp_path_factory.mktemp("runs")
    run(override(SHORT, {"model.shortcut": "none"}), folder / "plain-8-seed0", study="test")
    run(SHORT, folder / "resnet-8-seed0", study="test")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("instrument", [name for name in instruments() if name != "path-lengths"])
def test_every_instrument_compares_runs(
    instrument: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAX_ENABLE_X64", "")  # the command sets it, for a process of its own
    before = {p: p.read_bytes() for p in runs.rglob("*") if p.is_file()}
    nets = [str(runs / name) for name in ("plain-8-seed0", "resnet-8-seed0")]
    options = [f"--out={tmp_path / 'out'}", f"--compiled={tmp_path}", "--images=32", *OPTIONS.get(instrument, [])]
    with jax.enable_x64(instruments()[instrument].double):
        assert main([instrument, *nets, *options]) == cli.OK
    measured = json.loads((tmp_path / "out" / f"{instrument}.json").read_text())
    assert [net["name"] for net in measured["nets"]] == ["plain-8", "resnet-8"]
    assert measured["options"]["images"] == 32
    files = {p.name for p in (tmp_path / "out").iterdir()}
    figures = {f"{instrument}.png", f"{instrument}.svg"} if instrument in FIGURES else set()
    assert {f"{instrument}.json"} | figures <= files
    assert not any(name.endswith(".part") for name in files)
    assert {p: p.read_bytes() for p in runs.rglob("*") if p.is_file()} == before
    plain, _ = measured["nets"]
    if instrument == "gradient-flow":
        assert plain["steps"] == [0, 4]
        assert len(plain["training"][0]) == len(plain["layers"]) == 8
        assert "gradient-flow-training.png" in files


def test_nets_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    for name in ("plain-8-iterations=4-seed0", "plain-8-iterations=4-seed1", "resnet-8-iterations=4-seed0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").touch()
    words = sorted(str(path) for path in tmp_path.iterdir())
    names = [source.name for source in _sources(words, "analyze", looks_at="trained")]
    assert names == ["plain-8-seed0", "plain-8-seed1", "resnet-8-seed0"]
    assert [s.name for s in _sources([words[0], words[2]], "", looks_at="trained")] == ["plain-8", "resnet-8"]
    changed = ["digits-plain:optim.learning_rate=1e-05,seed=1", "digits-plain:optim.learning_rate=1e-06,seed=1"]
    names = [source.name for source in _sources(changed, "", looks_at="initial")]
    assert names == ["plain-20-learning_rate=1e-05", "plain-20-learning_rate=1e-06"]


@pytest.mark.slow
def test_a_net_of_scanned_stages_has_the_error_of_its_record(tmp_path: Path) -> None:
    place = tmp_path / "resnet-20-seed0"
    record = run(override(SHORT, {"model.depth": 20, "model.stages": "scanned"}), place, study="test")
    options = ["--repeats=1", "--images=1000", f"--out={tmp_path}", f"--compiled={tmp_path}"]
    assert main(["lesions", str(place), *options]) == cli.OK
    (net,) = json.loads((tmp_path / "lesions.json").read_text())["nets"]
    assert record.final is not None
    assert (net["images"], net["whole"]) == (360, pytest.approx(record.final.test_error))
    assert len(net["single"]) == 7
    drawn = (tmp_path / "lesions.png").read_bytes()
    (tmp_path / "lesions.png").unlink()
    assert main(["figures", str(tmp_path / "lesions.json")]) == cli.OK
    assert (tmp_path / "lesions.png").read_bytes() == drawn


def test_what_a_user_gets_wrong_is_a_sentence(runs: Path, tmp_path: Path) -> None:
    good, out = str(runs / "resnet-8-seed0"), f"--out={tmp_path / 'out'}"
    unfinished = tmp_path / "unfinished"
    shutil.copytree(good, unfinished, ignore=shutil.ignore_patterns("record.json"))
    bare = tmp_path / "bare"
    shutil.copytree(good, bare, ignore=shutil.ignore_patterns("checkpoints"))
    other = tmp_path / "other"
    run(override(SHORT, {"data.train_subset": 200}), other, study="test")
    file = tmp_path / "file.json"
    file.write_text('{"instrument": "lesions"}')
    cases = (
        (["lesions", out], "nets: none given"),
        (["lesions", good, good, out], "twice"),
        (["lesions", str(tmp_path), out], "not a run directory: it has neither"),
        (["lesions", "nowhere", out], "nowhere: no such run directory"),
        (["lesions", str(unfinished), out], "unfinished: this run has not finished"),
        (["lesions", str(bare), out], "is missing, so the net is lost"),
        (["lesions", good, str(other), out], "have different data"),
        (["lesions", "digits-plain", out], "takes only finished runs"),
        (["lesions", good, "--repeats=0", out], "repeats: got 0"),
        (["gradient-flow", "digits-plane", out], "did you mean 'digits-plain'"),
        (["gradient-flow", "digits-plain:model.depth", out], "legal: field=value, such as model.depth=110"),
        (["gradient-flow", "digits-plain:model.depth=57", out], "model.depth: got 57"),
        (["gradient-flow", 'digits-resnet:model.cut=["stage1","stage4"],seed=1', out], "model.cut: got 'stage4'"),
        (["gradient-flow", "digits-plain:model.depht=56", out], "model.depht: no such field"),
        (["lesions", good, f"--out={file}"], "is a file; legal: a folder"),
        (["figures"], "files: none given"),
        (["figures", str(file)], "file.json: not a complete measurement of lesions"),
        (["figures", str(runs / "resnet-8-seed0" / "config.json")], "instrument: got 'None'; legal: gradient-flow"),
    )
    for words, sentence in cases:
        with pytest.raises(UserError) as error:
            main([*words, f"--compiled={tmp_path}"] if words[0] != "figures" else words)
        assert sentence in str(error.value)


def test_the_list_of_instruments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for name, options in instruments().items():
        assert name in said
        assert "Source: " in (options.__doc__ or "")
        assert "Cost: " in (options.__doc__ or "")


@pytest.mark.slow
def test_a_plain_net_has_no_paths(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="legal here: nets with a shortcut on every block"):
        main(["path-lengths", str(runs / "plain-8-seed0"), f"--out={tmp_path / 'out'}", f"--compiled={tmp_path}"])
