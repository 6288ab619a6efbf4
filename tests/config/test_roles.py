"""Roles: what a field is, stands at its declaration; a value without effect is refused where it was chosen and dropped
where it was inherited."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments import sweep, train
from experiments.studies import experiments, studies
from resnet_jax.config import ExperimentConfig, ModelConfig, from_dict, override, settle, to_dict
from resnet_jax.errors import UserError
from resnet_jax.models.shortcuts import SHORTCUTS, projects
from resnet_jax.record import differences, read_record
from resnet_jax.training.checkpoints import identity
from resnet_jax.training.run import run

RECORDS = Path(__file__).parents[2] / "experiments" / "records"
FOLDER = {"data.source": "folder", "data.path": "pictures"}
STREAM = {**FOLDER, "data.stream": True, "data.image_size": 20}
TFDS = {"data.source": "tfds", "data.name": "cifar10"}
NPZ = {"data.source": "npz", "data.path": "x.npz"}
FINETUNED = {"finetune.weights": "net"}
# A field; a value that is not its default; settings with which it has an effect, and settings with which it has none.
TWO, ONE = {"parallel.processes": 2, "parallel.devices": 2}, {"parallel.processes": 1}
CASES: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    ("data.name", "cifar100", TFDS, NPZ),
    ("data.name", "cifar100", TFDS, {"data.source": "digits"}),
    ("data.path", "y.npz", NPZ, {"data.source": "digits"}),
    ("data.image_size", 16, FOLDER, NPZ),
    ("data.image_size", 16, FOLDER, TFDS),
    ("data.channels", 3, FOLDER, TFDS),
    ("data.bad_images", "skip", FOLDER, NPZ),
    ("data.stream", True, {**FOLDER, "data.image_size": 20}, NPZ),
    ("data.classes", ("3",), FOLDER, TFDS),
    ("data.workers", 3, STREAM, {**FOLDER, "data.stream": False}),
    ("data.statistics_images", 7, STREAM, {**FOLDER, "data.stream": False}),
    ("data.crop", "area", STREAM, {**FOLDER, "data.stream": False}),
    ("data.pad", 4, {**STREAM, "data.crop": "center"}, {**STREAM, "data.crop": "scale", "data.scales": (20, 30)}),
    ("data.scales", (300, 400), {**STREAM, "data.crop": "scale"}, {**STREAM, "data.crop": "center"}),
    ("data.areas", (0.5, 1.0), {**STREAM, "data.crop": "area"}, {"data.stream": False}),
    ("data.aspects", (1.0, 1.0), {**STREAM, "data.crop": "area"}, {"data.stream": False}),
    ("data.eval_resize", 300, STREAM, {**FOLDER, "data.stream": False}),
    ("data.protocol", "ten_crop", STREAM, {**FOLDER, "data.stream": False}),
    ("data.eval_scales", (40,), {**STREAM, "data.protocol": "multi_scale"}, {**STREAM, "data.protocol": "ten_crop"}),
    ("data.eval_multiple", 8, {**STREAM, "data.protocol": "multi_scale"}, {**STREAM, "data.protocol": "ten_crop"}),
    ("data.split_seed", 3, {"data.train_subset": 500}, {"data.train_subset": None}),
    ("data.split_seed", 3, {"data.validation": 500}, {"data.validation": 0}),
    ("model.shortcut_scale", 0.3, {"model.shortcut": "scale"}, {"model.shortcut": "exclusive_gate"}),
    ("model.gate_bias", -3.0, {"model.shortcut": "exclusive_gate"}, {"model.shortcut": "scale"}),
    ("model.gate_bias", -3.0, {"model.shortcut": "shortcut_gate"}, {"model.shortcut": "A"}),
    ("model.shortcut_dropout", 0.1, {"model.shortcut": "dropout"}, {"model.shortcut": "identity"}),
    ("model.cut", ("stage1",), {"model.shortcut": "B"}, {"model.shortcut": "none"}),
    ("model.shortcut_padding", "both", {"model.shortcut": "A"}, {"model.shortcut": "B"}),
    ("model.shortcut_padding", "both", {"model.shortcut": "identity"}, {"model.shortcut": "none"}),
    ("model.bottleneck_stride", "3x3", {"model.block": "bottleneck"}, {"model.block": "basic"}),
    ("model.norm.ghost_size", 32, {"model.norm.scope": "ghost"}, {"model.norm.scope": "global"}),
    ("model.norm.ghost_size", 32, {"model.norm.scope": "ghost"}, {"model.norm.scope": "device"}),
    ("finetune.frozen_stages", 1, FINETUNED, {"finetune.weights": None}),
    ("finetune.stage_rates", (1.0, 1.0, 0.5), FINETUNED, {"finetune.weights": None}),
    ("optim.nesterov", True, {"optim.momentum": 0.5}, {"optim.momentum": 0.0}),
    ("optim.decayed", "kernels", {"optim.weight_decay": 0.5}, {"optim.weight_decay": 0.0}),
    ("optim.milestones", (3,), {"optim.schedule": "steps"}, {"optim.schedule": "cosine"}),
    ("optim.decay_factor", 0.2, {"optim.milestones": (5,)}, {"optim.milestones": ()}),
    ("optim.decay_factor", 0.2, {"optim.milestones": (0.5,), "train.iterations": 10}, {"optim.schedule": "cosine"}),
    ("optim.warmup_rate", 0.05, {"optim.warmup": "error"}, {"optim.warmup": "none"}),
    ("optim.warmup_iterations", 10, {"optim.warmup": "iterations"}, {"optim.warmup": "error"}),
    ("optim.warmup_iterations", 10, {"optim.warmup": "linear"}, {"optim.warmup": "none"}),
    ("optim.warmup_rate", 0.05, {"optim.warmup": "linear"}, {"optim.warmup": "none"}),
    ("optim.ema_evaluated", False, {"optim.ema": 0.9}, {"optim.ema": None}),
    ("optim.warmup_error", 0.5, {"optim.warmup": "error"}, {"optim.warmup": "iterations"}),
    ("optim.warmup_smoothing", 0.5, {"optim.warmup": "error"}, {"optim.warmup": "none"}),
    ("parallel.coordinator", "host:9000", TWO, ONE),
    ("parallel.process", 1, TWO, ONE),
    ("parallel.start_seconds", 5.0, TWO, ONE),
    ("parallel.stall_seconds", 5.0, TWO, ONE),
]
BASE = override(ExperimentConfig(), {"model.depth": 20})
SIZES = {"bottleneck": {"model.depth": 11}}


def base(settings: dict[str, Any]) -> ExperimentConfig:
    return override(BASE, {**SIZES.get(settings.get("model.block", ""), {}), **settings})


def ids(value: Any) -> str:
    return re.sub(r"[{}' ]", "", str(value))


@pytest.mark.parametrize(("name", "value", "used", "unused"), CASES, ids=ids)
class TestWithoutEffect:
    def test_a_chosen_value_is_refused(
        self, name: str, value: Any, used: dict[str, Any], unused: dict[str, Any]
    ) -> None:
        sentence = f"{name}: got {value!r}, which has an effect only with "
        with pytest.raises(UserError, match=re.escape(sentence)):
            override(base(unused), {name: value})
        assert override(base(used), {name: value}).value(name) == value

    def test_an_inherited_value_is_dropped(
        self, name: str, value: Any, used: dict[str, Any], unused: dict[str, Any]
    ) -> None:
        before = override(base(used), {name: value})
        back = {"model.depth": 20} if "model.block" in used else {}
        assert override(before, {**back, **unused}).value(name) == ExperimentConfig.default(name)

    def test_its_default_may_be_chosen(
        self, name: str, value: Any, used: dict[str, Any], unused: dict[str, Any]
    ) -> None:
        config = base(unused)
        assert override(config, {name: config.default(name)}) == config

    def test_a_file_that_has_it_can_be_read_and_is_the_same_run(
        self, name: str, value: Any, used: dict[str, Any], unused: dict[str, Any]
    ) -> None:
        """Records of earlier versions have such values."""
        settled = base(unused)
        values: Any = to_dict(settled)
        *sections, last = name.split(".")
        place = values
        for section in sections:
            place = place[section]
        place[last] = value
        read = from_dict(json.loads(json.dumps(values)))
        assert read.value(name) == value
        assert differences(read, settled) == []
        assert identity(read) == identity(settled)


def test_every_field_that_may_have_no_effect_is_among_the_cases() -> None:
    assert set(ExperimentConfig.fields_where(lambda role: role.needs is not None)) == {name for name, *_ in CASES}


def test_python_callers_are_refused_too(tmp_path: Path) -> None:
    config = ExperimentConfig(model=ModelConfig(gate_bias=-3.0))
    with pytest.raises(UserError, match=r"model\.gate_bias: got -3\.0, which has an effect only"):
        run(config, tmp_path / "run", study="none")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_padding_has_an_effect_where_shortcuts_do_not_project(shortcut: Any, block: Any) -> None:
    model = ModelConfig(depth=56, block=block, shortcut=shortcut)
    assert model.pads == (shortcut != "none" and not projects(shortcut, block, shape_changes=True))


def test_every_field_has_a_role_and_every_section_is_looked_into() -> None:
    values = ExperimentConfig.roles()
    assert {"seed", "model.depth", "model.norm.scope", "data.path", "finetune.weights", "parallel.devices"} <= set(
        values
    )
    sections = {"model", "model.norm", "data", "finetune", "optim", "train", "parallel"}
    assert not sections & set(values)


def test_what_nets_of_one_table_may_differ_in_and_what_twins_may_not() -> None:
    twins_differ = set(ModelConfig.fields_where(lambda role: role.compared == "shortcut"))
    twins_agree = set(ModelConfig.fields_where(lambda role: role.compared == "net"))
    assert {"shortcut", "gate_bias", "cut", "survival"} <= twins_differ
    assert {"depth", "block", "activation_order", "widen", "zero_gamma"} <= twins_agree
    assert not {"family", "width", "dtype", "norm.scope"} & (twins_differ | twins_agree)


def test_what_the_papers_leave_open_and_what_they_do_not() -> None:
    free = set(ExperimentConfig.fields_where(lambda role: role.open_in_papers))
    assert {"seed", "data.path", "train.eval_every", "parallel.mode", "model.remat", "model.precision"} <= free
    assert not {"data.flip", "model.shortcut", "optim.momentum", "train.batch_size", "train.iterations"} & free
    operational = set(ExperimentConfig.fields_where(lambda role: role.of == "operational"))
    assert "train.steps_per_dispatch" in operational <= free


# --- at the command line ------------------------------------------------------------------------------------------

CIFAR = [name for name, config in experiments().items() if config.data.name == "cifar10"]


def test_there_are_experiments_on_cifar() -> None:
    assert {"cifar10-plain", "cifar10-resnet", "cifar10-preact-164", "cifar10-preact-1001"} <= set(CIFAR)


@pytest.mark.parametrize("experiment", CIFAR)
def test_train_on_ones_own_arrays_claims_no_data_set_of_tfds(
    experiment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun: dict[str, Any] = {}

    def note(config: ExperimentConfig, directory: Path, **_: Any) -> Any:
        begun.update(config=config, name=directory.name)
        return SimpleNamespace(diverged_at_step=None)

    monkeypatch.setattr(train, "train", note)
    monkeypatch.setattr(train, "print_record", lambda *_: None)
    words = [experiment, "--data.source=npz", "--data.path=own.npz", f"--runs={tmp_path}"]
    assert train.main(words) == 0
    assert (begun["config"].data.source, begun["config"].data.path) == ("npz", "own.npz")
    assert begun["config"].data.name is None
    assert "name=" not in begun["name"]
    with pytest.raises(UserError, match=r"data\.name: got 'mnist', which has an effect only"):
        train.main([*words, "--data.name=mnist"])


STUDIES = [name for name, (study, _) in studies().items() if study.base.data.source in ("tfds", "folder")]


@pytest.mark.parametrize("name", STUDIES)
def test_sweep_on_ones_own_arrays_claims_no_data_set_of_tfds(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed: dict[str, ExperimentConfig] = {}
    monkeypatch.setattr(sweep, "show", lambda runs, *_: listed.update(runs))
    words = [name, "--data.source=npz", "--data.path=own.npz", f"--runs={tmp_path}", "--dry-run"]
    assert sweep.main(words) == 0
    assert {(c.data.source, c.data.name, c.data.path, c.data.image_size) for c in listed.values()} == {
        ("npz", None, "own.npz", None)
    }
    with pytest.raises(UserError, match=rf"data\.name: got 'mnist'; legal: None, because no run of {name}"):
        sweep.main([*words, "--data.name=mnist"])


def test_a_sweep_takes_what_some_of_its_runs_heed(monkeypatch: pytest.MonkeyPatch) -> None:
    listed: dict[str, ExperimentConfig] = {}
    monkeypatch.setattr(sweep, "show", lambda runs, *_: listed.update(runs))
    assert sweep.main(["cifar10-depth", "--optim.warmup-rate=0.05", "--dry-run"]) == 0
    rates = {config.optim.warmup_rate for config in listed.values() if config.optim.warmup != "none"}
    others = {config.optim.warmup_rate for config in listed.values() if config.optim.warmup == "none"}
    assert (rates, others) == ({0.05}, {0.01})
    with pytest.raises(
        UserError, match=r"model\.gate_bias: got -3\.0; legal: -6\.0, because no run of digits-shortcuts uses"
    ):
        sweep.main(["digits-shortcuts", "--model.gate-bias=-3", "--dry-run"])  # its gates have biases of their own


# --- what is committed --------------------------------------------------------------------------------------------


def test_committed_records_claim_nothing_without_effect() -> None:
    files = sorted(RECORDS.rglob("record.json"))
    assert len(files) >= 150
    for file in files:
        config = read_record(file).config
        assert settle(config, chosen=config.roles()) == config, file


def test_committed_configurations_claim_nothing_without_effect() -> None:
    for name, config in experiments().items():
        assert settle(config, chosen=config.roles()) == config, name


def test_the_path_of_another_source_is_not_inherited() -> None:
    pictures = override(ExperimentConfig(), {"data.source": "folder", "data.path": "PICTURES"})
    assert override(pictures, {"data.source": "tfds", "data.name": "cifar10"}).data.path is None
    assert override(pictures, {"data.source": "tfds", "data.name": "cifar10", "data.path": "D"}).data.path == "D"
    assert override(pictures, {"data.source": "folder", "data.flip": True}).data.path == "PICTURES"
    with pytest.raises(UserError, match=r"data\.path: got None"):
        override(pictures, {"data.source": "npz"})
