"""That all contestants go in turn, each in a process of its own, and are told what to do."""

import math
from pathlib import Path
from typing import Any, get_args

import pytest

from experiments.benchmark import race
from experiments.benchmark.spec import Spec, Task, configure, step_config
from experiments.studies import experiments
from resnet_jax.config import override

CONFIG = step_config("resnet-8", 4, "float32")


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
