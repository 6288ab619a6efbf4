"""The benchmark: that peers compute what we compute, that all go in turn, and what it makes of their times."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import cli
from experiments.benchmark import convolutions, input as input_speed, limits, race, results, table
from experiments.benchmark.__main__ import main
from experiments.benchmark.contestants import Flax, Ours, flax_parts
from experiments.benchmark.race import Outcome
from experiments.benchmark.spec import CONVOLVERS, Spec, Task, configure, step_config
from experiments.studies import experiments
from resnet_jax.config import ExperimentConfig, ModelConfig, override
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import build
from tests.data import pictures

CONFIG = step_config("resnet-8", 4, "float32")
SPEC = Spec("step", "flax", CONFIG)
# Flax's own layers add vectors to arrays of more axes, which this project's tests do not allow itself.
lenient = pytest.mark.usefixtures("_any_rank")


@pytest.fixture
def _any_rank() -> Any:
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def their_names(config: ModelConfig) -> dict[str, str]:
    """From our modules' names to the Flax peer's, which Flax counts up."""
    names = {"stem_conv": "Conv_0", "stem_norm": "BatchNorm_0", "head": "Dense_0"}
    count = 0
    for i, blocks in enumerate(config.stage_blocks, start=1):
        for j in range(1, blocks + 1):
            ours, theirs = f"stage{i}_block{j}", f"Block_{count}"
            for k in range(1, 4):
                names |= {f"{ours}/conv{k}": f"{theirs}/Conv_{k - 1}", f"{ours}/norm{k}": f"{theirs}/BatchNorm_{k - 1}"}
            names |= {f"{ours}/shortcut_conv": f"{theirs}/conv_proj", f"{ours}/shortcut_norm": f"{theirs}/norm_proj"}
            count += 1
    return names


def converted(tree: Any, config: ModelConfig) -> Any:
    """Our tree under the Flax peer's names."""
    names = their_names(config)
    result: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        *modules, last = (key.key for key in path)
        node = result
        for module in names["/".join(modules)].split("/"):
            node = node.setdefault(module, {})
        node[last] = leaf
    return result


def random_variables(config: ExperimentConfig, shape: tuple[int, ...]) -> Any:
    """Values for every leaf of our net under which no two leaves are alike."""
    images = jax.ShapeDtypeStruct((1, *shape), jnp.dtype(config.model.dtype))
    shapes = jax.eval_shape(lambda key, x: build(config.model).init(key, x, train=False), jax.random.key(0), images)
    rng = np.random.default_rng(1)

    def draw(path: Any, leaf: Any) -> Any:
        kind = path[-1].key
        if kind == "kernel":
            value = rng.normal(0.0, np.sqrt(2.0 / np.prod(leaf.shape[:-1])), leaf.shape)
        else:
            value = rng.uniform(0.5, 1.5, leaf.shape) if kind in ("scale", "var") else rng.normal(0.0, 0.3, leaf.shape)
        return jnp.asarray(value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@lenient
@pytest.mark.parametrize(
    ("net", "size", "dtype", "tolerance"),
    [
        pytest.param("resnet-20", 12, "float32", 1e-4, marks=pytest.mark.slow),
        ("resnet-20", 12, "float64", 1e-11),
        pytest.param("resnet-50", 64, "float64", 1e-11, marks=pytest.mark.slow),
    ],
)
def test_the_flax_peer_is_our_net(net: Any, size: int, dtype: str, tolerance: float) -> None:
    with jax.enable_x64(dtype == "float64"):
        config = override(step_config(net, 4, "float32"), {"model.dtype": dtype})
        variables = random_variables(config, (size, size, 3))
        theirs = {name: converted(tree, config.model) for name, tree in variables.items()}
        peer, _, (params, batch_stats, _) = flax_parts(config, (32, 32, 3) if net != "resnet-50" else (224, 224, 3))
        assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, theirs["params"])
        assert jax.tree.map(jnp.shape, batch_stats) == jax.tree.map(jnp.shape, theirs["batch_stats"])
        images = jnp.asarray(np.random.default_rng(0).normal(size=(4, size, size, 3)), jnp.dtype(dtype))
        for train in (False, True):
            ours, kept = build(config.model).apply(variables, images, train=train, mutable=["batch_stats"])
            logits, their_kept = peer.apply(theirs, images, train=train, mutable=["batch_stats"])
            np.testing.assert_allclose(logits, ours, rtol=0, atol=tolerance * float(jnp.abs(ours).max()))
            expected = converted(kept["batch_stats"], config.model)
            for a, b in zip(jax.tree.leaves(their_kept["batch_stats"]), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(jnp.abs(b).max()))


@lenient
def test_the_flax_contestant_takes_our_steps() -> None:
    ours, peer = Ours(replace(SPEC, steps=2)), Flax(replace(SPEC, steps=2))
    start = ours.program.assembly.initial
    params, batch_stats = (converted(tree, CONFIG.model) for tree in (start.params, start.batch_stats))
    peer.state = jax.tree.map(jnp.asarray, (params, batch_stats, peer.state[2]))
    losses = [(peer.run(), ours.run()) for _ in range(2)]
    np.testing.assert_allclose(*np.transpose(losses), rtol=1e-4)
    assert losses[0][1] != losses[1][1]  # it learns: equal ones would say nothing
    memory = ours.program.memory()
    assert memory is not None
    assert ours.facts()["compiler_temporary_bytes"] == memory[1]
    # In eval mode too, by their own steps, after training.
    ours.phase, in_eval = "eval", Flax(replace(SPEC, phase="eval"))
    in_eval.state = peer.state
    assert in_eval.run() == pytest.approx(ours.run(), rel=1e-3)


class FakeWorker:
    """Takes a second for each letter of its contestant's name, and keeps a list of all calls."""

    calls: list[str]

    def __init__(self, spec: Spec) -> None:
        self.name, self.steps = spec.contestant, spec.steps

    def read(self, deadline: float = math.inf) -> dict[str, Any]:
        return {"environment": {"code": "1"}, "steps": self.steps}

    def ask(self, word: str, deadline: float = math.inf) -> dict[str, Any]:
        self.calls.append(f"{word} {self.name}")
        if self.name == "dies" and self.calls.count("go dies") == 2:
            raise race.Failed("out of memory")
        return {"seconds": float(len(self.name)), "loss": 1.0} if word == "go" else {"facts": {"size": 7}}

    def close(self) -> None:
        self.calls.append(f"close {self.name}")


def test_all_go_in_turn_and_one_that_dies_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeWorker.calls, told = [], []
    monkeypatch.setattr(race, "Worker", FakeWorker)
    specs = [Spec("step", name, CONFIG, steps=2) for name in ("a", "bb", "dies")]
    a, bb, dies = race.race(specs, 3, told.append)
    assert FakeWorker.calls[:9] == [
        *("go a", "go bb", "go dies"),
        *("go bb", "go dies", "go a"),
        *("go a", "go bb", "end a"),
    ]
    assert (a.seconds, bb.seconds, a.facts) == ([0.5] * 3, [1.0] * 3, {"size": 7})
    assert dies.failed == "out of memory"
    assert told == ["dies is left out: out of memory"]
    assert sorted(FakeWorker.calls[-3:]) == ["close a", "close bb", "close dies"]


def test_several_processes_each_have_all_their_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeWorker.calls = []
    monkeypatch.setattr(race, "Worker", FakeWorker)
    specs = [Spec("step", name, CONFIG) for name in ("a", "bb", "dies")]
    a, bb, dies = race.race(specs, 2, lambda line: None, processes=2)
    assert (a.seconds, bb.seconds) == ([1.0] * 4, [2.0] * 4)
    assert [FakeWorker.calls.count(f"close {name}") for name in ("a", "bb", "dies")] == [2, 2, 1]
    assert dies.failed == "out of memory"


def test_a_real_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    config = override(experiments()["folder-resnet"], {"data.path": str(tmp_path / "nowhere")})
    (outcome,) = race.race([Spec("loop", "step alone", config)], 1, lambda line: None)
    assert "nowhere" in outcome.failed
    assert "Traceback" not in outcome.failed


def test_a_spec_survives_its_journey() -> None:
    spec = Spec("step", "resnet_jax:model.remat=True", override(CONFIG, {"model.remat": True}), "eval", 3, 1, "gpu")
    assert Spec.from_json(spec.to_json()) == spec
    assert (spec.name, spec.tuned) == ("resnet_jax", True)
    assert not Spec("step", "flax", CONFIG).tuned
    assert Spec("step", "flax+malloc", CONFIG).tuned


def test_a_name_changes_our_configuration() -> None:
    changed = configure("resnet_jax:model.remat=True,optim.learning_rate=0.5,model.norm.scope=device", CONFIG)
    expected = {"model.remat": True, "optim.learning_rate": 0.5, "model.norm.scope": "device"}
    assert changed == override(CONFIG, expected)


def test_medians_ratios_and_shares_by_hand() -> None:
    peer, own = Outcome("flax", [2.0, 4.0, 9.0]), Outcome("resnet_jax", [1.0, 4.0, 3.0], facts={"size": 7})
    rows = [
        {"limit": "matrix product", "dtype": "float32", "per_second": 1e9},
        {"limit": "matrix product", "dtype": "float32", "per_second": 2e9},
        {"limit": "matrix product", "dtype": "bfloat16", "per_second": 9e9},
        {"limit": "memory", "dtype": "bfloat16", "per_second": 1e10},
    ]
    row = results.result("step", Spec("step", "resnet_jax", CONFIG), own, peer, rows)
    assert (row["median"], row["quartiles"]) == (3.0, [2.0, 3.5])
    # Round by round 2, 1, 3; of the medians it would be 4 / 3.
    assert (row["ratio"], row["ratio_quartiles"]) == (2.0, [1.5, 2.5])
    assert row["images_per_second"] == pytest.approx(4 / 3)
    assert row["size"] == 7
    per_image = (
        1024 * 27 * 16 + 1024 * 9 * (2 * 16 * 16) + 256 * 9 * (16 * 32 + 32 * 32) + 64 * 9 * (32 + 64) * 64 + 640
    )
    assert row["share_of_products"] == pytest.approx(3 * 4 * per_image / 3.0 / 2e9)
    kept = 1024 * (3 + 16 + 16 * 4) + 1024 * 16 + 256 * 32 * 3 + 256 * 32 + 64 * 64 * 3 + 64 * 64
    weights = 432 + 2 * 2304 + 4608 + 9216 + 18432 + 36864 + 640 + 10 + 2 * (3 * 16 + 2 * 32 + 2 * 64)
    assert row["share_of_memory"] == pytest.approx((5 * 4 * 4 * kept + 28 * weights) / 3.0 / 1e10)
    assert limits.asked(CONFIG, "eval", (32, 32, 3)).multiply_adds == 4 * per_image


def test_tables_of_a_record(tmp_path: Path) -> None:
    spec, failed = Spec("compile", "flax", CONFIG), Outcome("resnet_jax", failed="out of memory")
    parts = {"trace": [0.5], "lower": [0.25], "compile": [1.25]}
    deep = Spec("compile", "flax", override(CONFIG, {"model.depth": 56}))
    slow = Outcome("flax", [5.0], {"trace": [1.0], "lower": [1.0], "compile": [3.0]})
    flax = Outcome("flax", [2.0], parts)
    found = [results.result("compile", spec, outcome, flax, []) for outcome in (flax, failed)]
    found.append(results.result("compile", deep, slow, slow, []))
    environment = {"versions": {"jax": "1"}, "device": "A", "processor": "B", "cpu_cores": 2, "code": "c"}
    record = {"schema": 1, "command": "python", "started": "now", "limits": [], "results": found}
    file = tmp_path / "record.json"
    file.write_text(json.dumps({**record, "environment": environment}))
    text = table.render(file)
    assert "| resnet-8 | flax | 0.50 | 0.25 | 1.25 | 2.0 (2.0 to 2.0) | 1.00 (1.00 to 1.00) | 1.00 x resnet-8 |" in text
    assert "| resnet-8 | resnet_jax | failed |" in text
    assert "2.50 x resnet-8 |" in text
    for broken in ({}, {"environment": {**environment, "versions": []}}, {"results": [{"what": "compile"}]}):
        file.write_text(json.dumps({**record, "environment": environment, **broken} if broken else {"schema": 1}))
        with pytest.raises(UserError, match="not a record of"):
            main(["--render", str(file)])
    file.write_text(json.dumps({**record, "environment": environment, "schema": 2}))
    with pytest.raises(UserError, match="a record of schema 2; legal: 1"):
        main(["--render", str(file)])


def test_a_table_of_convolutions() -> None:
    times = {"resnet_jax": [1.0, 2.0, 4.0], "jax": [3.0, 2.0, 20.0]}
    slower = {"resnet_jax": [0.002], "jax": [0.001]}
    rows = results.convolutions({"3x3, A; value; alone": times, "3x3, A; value; in a loop": slower})
    assert rows[0]["median"] == {"resnet_jax": 2.0, "jax": 3.0}
    assert rows[0]["ratio"] == 3.0  # of 3, 1 and 5, round by round
    (printed,) = table.printed({"limits": [], "results": rows})
    assert printed.headings == ("convolution", "value, alone", "value, in a loop")
    assert printed.rows == [("3x3, A", "2,000.00 (3.0)", "2.00 (0.5)")]


def test_single_convolutions_are_those_of_the_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides, in both ways, compute what they are timed on; the gradients of one are those of the other."""
    shape = convolutions.Shape(batch=2, size=5, channels=3, features=4, kernel=3, stride=2)
    monkeypatch.setattr(convolutions, "CASES", convolutions.Cases((shape,), loop=2))
    by_part: dict[str, list[np.ndarray]] = {}
    for part in get_args(convolutions.Part):
        for way, side in itertools.product(convolutions.WAYS, CONVOLVERS):
            compiled, operands = convolutions.operation(shape, part, way, side)
            by_part.setdefault(part, []).append(np.stack(compiled(operands)))
    assert [found[0].shape for found in by_part.values()] == [(2, 2, 3, 3, 4), (2, 2, 5, 5, 3), (2, 3, 3, 3, 4)]
    for found in by_part.values():
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=1e-5, atol=1e-5)


MISTAKES = [
    (["--contestants", "resnet-jax"], "did you mean 'resnet_jax'"),
    (["--contestants", "flax:model.remat=True"], "for resnet_jax alone"),
    (["--contestants", "resnet_jax:model.remta=True"], "did you mean 'model.remat'"),
    (["--contestants", "resnet_jax:model.remat"], "FIELD=VALUE"),
    (["--contestants", "resnet_jax+malloc"], "without being asked"),
    (["--contestants", "flax", "flax"], "each once"),
    (["--peer", "tensorflow"], "peer: got 'tensorflow'"),
    (["--repeats", "0"], "repeats: got 0"),
    (["--processes", "0"], "processes: got 0"),
    (["--what", "compile", "--processes", "2"], "--processes: got a value, which --what compile does not use"),
    (["--warmup", "-1"], "warmup: got -1"),
    (["--batch-sizes", "0"], "batch_size: got 0"),
    (["--data-path", "nowhere"], "nowhere is no directory"),
    (["--out", "."], ". is a folder"),
    (["--render"], "render: got nothing"),
    (["--nets"], "nets: got nothing"),
    (["--nets", "resnet-8", "resnet-8"], "each once"),
    (["--what", "compile", "--contestants", "torch-eager"], "resnet_jax or flax too"),
    (["--contestants", "resnet_jax:train.accumulation=8", "--batch-sizes", "4"], "train.batch_size: got 4"),
    (["--all", "--nets", "resnet-8"], "all: got --nets too"),
    (["--what", "convolutions", "--contestants", "flax"], "--contestants: got a value, which --what convolutions"),
    (["--data-path", "tests"], "legal: with --what epoch or input."),
    (["--what", "input"], "what: got input; legal: that alone, with --data-path."),
    (["--what", "input", "--data-path", "tests", "--feed-batches", "0"], "feed_batches: got 0"),
    (["--what", "input", "--data-path", "tests", "--device-rate", "0"], "device-rate: got 0; legal: a number above 0"),
    (["--what", "compile", "--repeats", "20"], "--repeats: got a value, which --what compile does not use"),
    (["--what", "compile", "--batch-sizes", "32", "128"], "batch-sizes: got 32 128; legal: one"),
    (["--what", "compile", "--peer", "torch-eager"], "peer: got 'torch-eager'; legal: one of the contestants, flax"),
]


@pytest.mark.parametrize(("options", "sentence"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_a_mistake_is_told_before_anything_is_measured(options: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        main(options)


def test_a_record_is_printed_however_its_option_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(__file__).parents[2] / "experiments" / "records" / "benchmark-1202.json"
    assert main([f"--render={file}"]) == cli.OK
    assert "| resnet-1202 |" in capsys.readouterr().out


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


@pytest.mark.slow
def test_a_compile_time_is_no_program_s_from_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept in the folder that JAX is told of, so nothing can have come from there."""
    kept = {}
    for task in get_args(Task)[:2]:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / task))
        monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        (outcome,) = race.race([Spec(task, "resnet_jax", CONFIG, steps=1)], 1, lambda line: None)
        assert not outcome.failed
        kept[task] = len(list((tmp_path / task).glob("jit_*")))
    assert kept["step"] > 0  # where it is not forbidden
    assert kept["compile"] == 0


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
